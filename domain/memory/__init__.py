"""Estimates of the memory that a model needs, and checks before it is allocated."""
