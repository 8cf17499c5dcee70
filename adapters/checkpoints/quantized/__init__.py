"""Quantized Hugging Face checkpoints, presented as dequantized weights."""
