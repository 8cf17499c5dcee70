"""Inference over a file of prompts: lines, answers, and the file they are written to."""
