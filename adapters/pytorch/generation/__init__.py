"""The model runner of the engine, the sampler and the scorer."""
