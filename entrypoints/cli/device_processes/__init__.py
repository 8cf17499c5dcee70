"""Processes with a copy of the model each, one per device."""
