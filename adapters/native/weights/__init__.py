"""Weights of checkpoints, packed for the engine without torch where their stored bytes can be used."""
