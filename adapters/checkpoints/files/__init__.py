"""Files on disk: memory-mapped tensors, sharded folders, atomic replacement."""
