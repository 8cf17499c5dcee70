"""Fakes of the ports, for tests without models and torch."""

from litgpt.testing.generators import ScriptedGenerator
from litgpt.testing.profilers import ScriptedProfiler
from litgpt.testing.stores import MemoryCheckpoint, MemoryStore, MemoryTensor
from litgpt.testing.strategies import MemoryModel, MemoryStrategy
from litgpt.testing.tokenizers import ByteTokenizer, open_byte_tokenizer

__all__ = [
    "ByteTokenizer",
    "MemoryCheckpoint",
    "MemoryModel",
    "MemoryStore",
    "MemoryStrategy",
    "MemoryTensor",
    "ScriptedGenerator",
    "ScriptedProfiler",
    "open_byte_tokenizer",
]
