"""The application layer: use cases in terms of ports, without torch."""
