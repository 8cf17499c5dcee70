"""The domain layer, which imports neither torch nor any other layer."""
