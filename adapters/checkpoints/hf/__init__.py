"""Hugging Face checkpoint folders."""
