"""Mixins of `LLM`."""
