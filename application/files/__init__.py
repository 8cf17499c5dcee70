"""Atomic writes, free disk space and overwrite protection."""
