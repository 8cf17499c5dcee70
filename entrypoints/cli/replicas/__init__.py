"""A server per device behind one address: `litgpt serve --devices N`."""
