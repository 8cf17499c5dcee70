"""Bounded, redacted text for messages."""
