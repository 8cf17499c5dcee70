"""The structure of a model as immutable values, independent of its weights and of PyTorch.

The network, memory estimates, sharding and export are all derived from it.
"""

from litgpt.domain.model.absent import AbsentMixerSpec, AbsentMLPSpec
from litgpt.domain.model.altup import AltUpSpec
from litgpt.domain.model.architecture import Architecture, LayerSpec, NormedResidualSpec
from litgpt.domain.model.attention import AttentionSpec, QkNormSpec
from litgpt.domain.model.linear_attention.gated_delta import GatedDeltaSpec
from litgpt.domain.model.linear_attention.kimi_delta import KimiDeltaSpec
from litgpt.domain.model.linear_attention.lightning import LightningSpec
from litgpt.domain.model.linear_attention.mamba import MambaSpec
from litgpt.domain.model.linear_attention.mamba2 import Mamba2Spec
from litgpt.domain.model.linear_attention.rg_lru import RGLRUSpec
from litgpt.domain.model.linear_attention.short_conv import ShortConvSpec
from litgpt.domain.model.mixer import CacheSpec, MixerSpec
from litgpt.domain.model.mla import IndexerSpec, MLASpec
from litgpt.domain.model.mlp import Activation, FeedForwardSpec, GatedMLPSpec, MLPSpec, SwigluClamp
from litgpt.domain.model.moe import DenseAndMoESpec, MoESpec, RouterSpec, ShortcutMoESpec
from litgpt.domain.model.norm import NormSpec
from litgpt.domain.model.parallel_mixer import ParallelMixerSpec
from litgpt.domain.model.parameter_spec import ParameterRole, ParameterSpec
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
    SinusoidalSpec,
    YarnScaling,
    yarn_attention_factor,
)

__all__ = [
    "AbsentMLPSpec",
    "AbsentMixerSpec",
    "Activation",
    "AlibiSpec",
    "AltUpSpec",
    "Architecture",
    "AttentionSpec",
    "AttentionTemperature",
    "CacheSpec",
    "DenseAndMoESpec",
    "DynamicScaling",
    "FactorScaling",
    "FeedForwardSpec",
    "GatedDeltaSpec",
    "GatedMLPSpec",
    "IndexerSpec",
    "KimiDeltaSpec",
    "LayerSpec",
    "LightningSpec",
    "LinearScaling",
    "Llama3Scaling",
    "LongRopeScaling",
    "MLASpec",
    "MLPSpec",
    "Mamba2Spec",
    "MambaSpec",
    "MixerSpec",
    "MoESpec",
    "NormSpec",
    "NormedResidualSpec",
    "ParallelMixerSpec",
    "ParameterRole",
    "ParameterSpec",
    "PerLayerEmbeddingSpec",
    "PerLayerInputSpec",
    "QkNormSpec",
    "RGLRUSpec",
    "RopeScaling",
    "RopeSpec",
    "RouterSpec",
    "ShortConvSpec",
    "ShortcutMoESpec",
    "SinusoidalSpec",
    "SwigluClamp",
    "YarnScaling",
    "yarn_attention_factor",
]
