"""What this library knows, as opposed to what it computes with: no torch, no files, no network."""
