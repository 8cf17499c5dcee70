"""Locks that let answers and changes of one model exclude each other."""
