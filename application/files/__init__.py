"""Atomic files and the disk space that they need."""
