"""The chat as a client of a server: no model is loaded, and neither torch nor NumPy is imported."""
