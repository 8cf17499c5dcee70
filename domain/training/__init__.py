"""Training: what a model learns from, and what is decided before it begins."""
