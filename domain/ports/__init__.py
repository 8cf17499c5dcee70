"""The ports of the application: protocols that adapters implement."""

from litgpt.domain.ports.constraint_compiler import ConstraintCompiler
from litgpt.domain.ports.distribution_strategy import DistributionStrategy, DraftedModel, PlacedModel
from litgpt.domain.ports.generator import Generation, Generator
from litgpt.domain.ports.model_bridge import ModelBridge
from litgpt.domain.ports.model_store import (
    Checkpoint,
    CheckpointInfo,
    ModelStore,
    ModelToSave,
    TensorSource,
    Weights,
    WriteModel,
)
from litgpt.domain.ports.profiler import Profiler
from litgpt.domain.ports.tokenizer import ExportTokenizer, OpenTokenizer, TextDecoder, Tokenizer

__all__ = [
    "Checkpoint",
    "CheckpointInfo",
    "ConstraintCompiler",
    "DistributionStrategy",
    "DraftedModel",
    "ExportTokenizer",
    "Generation",
    "Generator",
    "ModelBridge",
    "ModelStore",
    "ModelToSave",
    "OpenTokenizer",
    "PlacedModel",
    "Profiler",
    "TensorSource",
    "TextDecoder",
    "Tokenizer",
    "Weights",
    "WriteModel",
]
