"""Checks of arguments, JSON values and untrusted files."""
