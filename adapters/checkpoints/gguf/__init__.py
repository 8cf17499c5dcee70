"""GGUF files, llama.cpp's format: read where they lie, told in Hugging Face's dialect."""
