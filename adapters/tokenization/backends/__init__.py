"""Tokenizer implementations: tokenizers, sentencepiece, GGUF vocabularies."""
