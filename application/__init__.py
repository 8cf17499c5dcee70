"""What this library does, as sentences over ports: no torch, no files, no network."""
