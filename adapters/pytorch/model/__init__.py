"""The network: one module for each part of an architecture."""
