"""LitGPT folders."""
