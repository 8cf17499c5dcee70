"""Numerical kernels that several modules share."""
