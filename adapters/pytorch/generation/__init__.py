"""The generation loop, the sampler and the caches."""
