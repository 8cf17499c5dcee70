"""The structure of a model as immutable values, independent of its weights and of PyTorch.

The network, memory estimates, sharding and export are all derived from it.
"""

from litgpt.domain.model.altup import AltUpSpec
from litgpt.domain.model.architecture import Architecture, LayerSpec
from litgpt.domain.model.attention import AttentionSpec, MixerSpec, MLASpec, QkNormSpec
from litgpt.domain.model.cache_spec import CacheSpec
from litgpt.domain.model.gated_delta import GatedDeltaSpec
from litgpt.domain.model.mlp import (
    Activation,
    AnyMLPSpec,
    DenseAndMoESpec,
    GatedMLPSpec,
    MLPSpec,
    MoESpec,
    RouterSpec,
    SwigluClamp,
    moe_of,
)
from litgpt.domain.model.norm import NormSpec
from litgpt.domain.model.per_layer_embedding import PerLayerEmbeddingSpec, PerLayerInputSpec
from litgpt.domain.model.rope import (
    AlibiSpec,
    AttentionTemperature,
    DynamicScaling,
    FactorScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    RopeScaling,
    RopeSpec,
    YarnScaling,
    yarn_attention_factor,
)

__all__ = [
    "Activation",
    "AlibiSpec",
    "AltUpSpec",
    "AnyMLPSpec",
    "Architecture",
    "AttentionSpec",
    "AttentionTemperature",
    "CacheSpec",
    "DenseAndMoESpec",
    "DynamicScaling",
    "FactorScaling",
    "GatedDeltaSpec",
    "GatedMLPSpec",
    "LayerSpec",
    "LinearScaling",
    "Llama3Scaling",
    "LongRopeScaling",
    "MLASpec",
    "MLPSpec",
    "MixerSpec",
    "MoESpec",
    "NormSpec",
    "PerLayerEmbeddingSpec",
    "PerLayerInputSpec",
    "QkNormSpec",
    "RopeScaling",
    "RopeSpec",
    "RouterSpec",
    "SwigluClamp",
    "YarnScaling",
    "moe_of",
    "yarn_attention_factor",
]
