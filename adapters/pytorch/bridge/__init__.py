"""Models that transformers computes. Only this package imports transformers, for such a model."""
