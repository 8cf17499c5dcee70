"""Loading, exporting and initializing parameters."""
