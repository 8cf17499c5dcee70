"""The header and the tensor index of GGUF files."""
