"""Tokenizers and chat templates: text to ids and back, and messages to text."""
