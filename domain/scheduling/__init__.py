"""Continuous batching: which sequences a step computes, and what they share."""
