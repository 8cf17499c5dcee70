"""The structure of a model as immutable values, independent of its weights and of PyTorch.

The network, memory estimates, sharding and export are all derived from it.
"""

from litgpt.domain.architecture.delta import GatedDelta
from litgpt.domain.architecture.feedforward import (
    Activation,
    AnyFeedForward,
    Bounds,
    Experts,
    FeedForward,
    GatedFeedForward,
    Router,
    SideBySide,
    mixture_of,
)
from litgpt.domain.architecture.inputs import LayerEmbeddings, LayerInput
from litgpt.domain.architecture.kept import Kept
from litgpt.domain.architecture.mixers import Attention, LatentAttention, Mixer, QkNorm
from litgpt.domain.architecture.model import Architecture, Layer
from litgpt.domain.architecture.norms import Norm
from litgpt.domain.architecture.positions import (
    Alibi,
    DynamicScaling,
    FixedFactors,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    QueryScaling,
    Rotary,
    Scaling,
    YarnScaling,
    yarn_magnitude,
)
from litgpt.domain.architecture.streams import AlternatingUpdates

__all__ = [
    "Activation",
    "Alibi",
    "AlternatingUpdates",
    "AnyFeedForward",
    "Architecture",
    "Attention",
    "Bounds",
    "DynamicScaling",
    "Experts",
    "FeedForward",
    "FixedFactors",
    "GatedDelta",
    "GatedFeedForward",
    "Kept",
    "LatentAttention",
    "Layer",
    "LayerEmbeddings",
    "LayerInput",
    "LinearScaling",
    "Llama3Scaling",
    "LongRopeScaling",
    "Mixer",
    "Norm",
    "QkNorm",
    "QueryScaling",
    "Rotary",
    "Router",
    "Scaling",
    "SideBySide",
    "YarnScaling",
    "mixture_of",
    "yarn_magnitude",
]
