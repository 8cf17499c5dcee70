"""Drafts: tokens that are proposed for a sequence, and that the model verifies in one step."""
