"""Gemma 3n, text: AltUp, LAuReL, activation sparsity, cross-layer KV sharing, per-layer embeddings.

Source: Google DeepMind 2025, "Gemma 3n"; see `AltUpSpec` for the papers.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.gemma import GEMMA3_TEXT
from litgpt.domain.families.llama import ATTENTION_BIAS, LLAMA, UNUSED_KV
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import PER_LAYER_CONFIG, ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.per_layer_embedding import PER_LAYER_WEIGHTS, PerLayerSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor
from litgpt.domain.model import AltUpSpec, NormSpec
from litgpt.domain.weights.mapping import WeightMapping

_NUM_SPARSE_LAYERS = 10
_ACTIVATION_SPARSITY = 0.95


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    """Return the per-layer settings, which the config holds as lists, and default sizes."""
    layers = config.integer(ConfigField("num_hidden_layers"))
    default = [
        _ACTIVATION_SPARSITY if layers > _NUM_SPARSE_LAYERS and at < _NUM_SPARSE_LAYERS else 0.0
        for at in range(layers)
    ]
    sparsity = _per_layer_values(config, ConfigField("activation_sparsity_pattern", default), layers)
    sizes = config.get(ConfigField("intermediate_size", 16_384))
    if isinstance(sizes, list):
        sizes = _per_layer_values(config, ConfigField("intermediate_size"), layers)
    else:
        sizes = [sizes] * layers
    table = config.mapping(ConfigField(PER_LAYER_CONFIG))
    return {
        "num_attention_heads": config.get(ConfigField("num_attention_heads", 8)),
        "vocab_size": config.get(ConfigField("vocab_size", 262_400)),
        PER_LAYER_CONFIG: {
            str(at): {"intermediate_size": size, "activation_sparsity": share, **table.get(str(at), {})}
            for at, (size, share) in enumerate(zip(sizes, sparsity, strict=True))
        },
    }


def _per_layer_values(config: HFConfig, key: ConfigField, layers: int) -> list[object]:
    value = config.get(key)
    if not isinstance(value, list) or len(value) != layers:
        config.raise_invalid(key, f"a list with an entry for each of the {layers} layers")
    return value


def _altup(config: HFConfig, norm: NormSpec) -> AltUpSpec:
    streams, active = (
        config.integer(ConfigField("altup_num_inputs", 4)),
        config.get(ConfigField("altup_active_idx", 0)),
    )
    if active not in range(streams):
        config.raise_invalid(ConfigField("altup_active_idx", 0), f"a stream index from 0 to {streams - 1}")
    return AltUpSpec(
        num_streams=streams,
        active_stream=active,
        correct_scale=config.flag(ConfigField("altup_correct_scale", default=True)),
        laurel_rank=config.integer(ConfigField("laurel_rank", 64)),
        norm=norm,
    )


_NORM = RMSNormSchema()

GEMMA3N_TEXT = attrs.evolve(
    GEMMA3_TEXT,
    model_type="gemma3n_text",
    normalize_config=_normalize_config,
    attention=AttentionSchema(
        qkv_bias=ATTENTION_BIAS,
        output_bias=ATTENTION_BIAS,
        num_kv_heads=ConfigField("num_key_value_heads", 2),
        head_dim=ConfigField("head_dim", 256),
        scale=1.0,
        qk_norm=QkNormSchema(norm=_NORM),
        value_norm=attrs.evolve(_NORM, weight=False),
        sliding_window=SlidingWindowSchema(
            size=ConfigField("sliding_window", 512), pattern=ConfigField("sliding_window_pattern", 5)
        ),
        rope=RopeSchema(
            theta=ConfigField("rope_theta", 1_000_000.0),
            local_theta=ConfigField("rope_local_base_freq", 10_000.0),
        ),
        num_kv_shared_layers=ConfigField("num_kv_shared_layers", 15),
    ),
    mlp=GatedMLPSchema(
        activation=ConfigField("hidden_act", "gelu_pytorch_tanh"),
        activation_sparsity=ConfigField("activation_sparsity", 0.0),
    ),
    norm=_NORM,
    per_layer_inputs=PerLayerSchema(),
    altup=_altup,
    final_logit_softcap=ConfigField("final_logit_softcapping", 30.0, nullable=True),
    context_length=ConfigField("max_position_embeddings", 32_768),
    unsupported_settings=LLAMA.unsupported_settings,
    # Files also contain the unused key and value projections of KV-sharing layers, and an unused scale.
    unused_tensors=(*LLAMA.unused_tensors, *UNUSED_KV, "*.altup.correct_output_scale"),
    weights=(
        *GEMMA3_TEXT.weights,
        *PER_LAYER_WEIGHTS,
        WeightMapping("transformer.fork.{}.weight", ("model.altup_projections.{}.weight",)),
        WeightMapping("transformer.merge.{}.weight", ("model.altup_unembed_projections.{}.weight",)),
        layer_tensor("altup.prediction.weight", "altup.prediction_coefs.weight"),
        layer_tensor("altup.correction.weight", "altup.correction_coefs.weight"),
        layer_tensor("altup.router.weight", "altup.modality_router.weight"),
        layer_tensor("altup.norm.weight", "altup.router_norm.weight"),
        layer_tensor("altup.scale", "altup.correct_output_scale"),
        layer_tensor("laurel.left.weight", "laurel.linear_left.weight"),
        layer_tensor("laurel.right.weight", "laurel.linear_right.weight"),
        layer_tensor("laurel.norm.weight", "laurel.post_laurel_norm.weight"),
    ),
)
