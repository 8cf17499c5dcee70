"""Mixers with a state of fixed size: linear attention, state spaces and short convolutions."""
