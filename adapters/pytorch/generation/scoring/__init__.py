"""What the torch engine computes besides answers: scores of given tokens, embeddings, beam searches."""
