"""The parts that `LLM` is composed of."""
