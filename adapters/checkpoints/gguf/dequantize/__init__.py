"""Dequantization of GGUF's block formats."""
