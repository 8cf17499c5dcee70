"""LitGPT checkpoint folders."""
