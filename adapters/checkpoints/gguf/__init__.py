"""GGUF files, llama.cpp's format, presented as Hugging Face checkpoints."""
