"""Builds the shared library `_native` of the native engine, while litgpt is installed and by hand.

Only the standard library is imported here, except in `commands` and `backend`, which extend setuptools.
"""
