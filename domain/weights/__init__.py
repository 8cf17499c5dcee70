"""Tensors of a checkpoint and how they map to the parameters of the network."""
