"""The sampler of the native engine, in numpy."""
