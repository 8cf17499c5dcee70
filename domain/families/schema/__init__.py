"""How a family's config.json is read: one schema for each part of a model."""
