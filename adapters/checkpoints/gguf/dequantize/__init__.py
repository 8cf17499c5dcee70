"""Dequantization of GGUF's quantization types."""
