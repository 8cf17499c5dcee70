"""Tensor operations shared by the other packages."""
