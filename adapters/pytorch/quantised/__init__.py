"""Linear layers whose weights are in fewer bits, quantised one by one while a model is loaded."""
