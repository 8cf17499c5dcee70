"""Fakes of the ports, for tests that need no model and no torch."""

from litgpt.testing.stores import MemoryCheckpoint, MemoryStore, MemoryTensor

__all__ = ["MemoryCheckpoint", "MemoryStore", "MemoryTensor"]
