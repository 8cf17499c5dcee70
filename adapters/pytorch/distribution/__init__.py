"""Strategies that place a model on one device or several."""
