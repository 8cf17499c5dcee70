"""Validation of calls, JSON values and untrusted files."""
