"""How `litgpt.training` sets up, runs and summarizes a run."""
