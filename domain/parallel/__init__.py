"""How a model is divided over ranks and devices."""
