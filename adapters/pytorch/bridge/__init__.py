"""Models that transformers computes; nothing else imports transformers, and only when such a model is used."""
