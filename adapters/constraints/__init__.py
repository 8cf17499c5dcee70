"""Compilers of constraints."""
