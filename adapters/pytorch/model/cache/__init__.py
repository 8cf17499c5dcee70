"""Keys, values and states of earlier tokens."""
