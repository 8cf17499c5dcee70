"""Setup, checks and summaries of training runs."""
