"""Which devices a model is placed on, and how it computes there."""
