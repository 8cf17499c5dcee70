"""Programs: the instructions that the engine executes for a model."""
