"""Python functions as tools: which calls can be run, and their results."""
