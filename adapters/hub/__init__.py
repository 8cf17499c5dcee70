"""The Hugging Face Hub: what is there, what of it is in the cache, and bringing the rest."""
