"""Locks that separate generation from changes of the model."""
