"""Quantized Hugging Face checkpoints: each format is told by its packing, and presented as plain weights."""
