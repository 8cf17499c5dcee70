"""Log-probabilities of texts and continuations, and perplexity."""
