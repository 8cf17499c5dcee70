"""Device placement and CPU matrix multiplication."""
