"""Linear layers whose weights are in fewer bits, quantized one by one while a model is loaded."""
