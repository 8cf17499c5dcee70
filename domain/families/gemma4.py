"""Gemma 4, text: larger heads in full-attention layers, K=V, KV sharing, per-layer embeddings, parallel MoE.

Source: Google DeepMind 2026, "Gemma 4".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.attention import SoftmaxAttention, Windows
from litgpt.domain.families.feedforward import Beside, Gated, Routing, Sparse
from litgpt.domain.families.gemma import GEMMA3_TEXT
from litgpt.domain.families.inputs import PER_LAYER, Inputs
from litgpt.domain.families.llama import BIAS, KEYS_AND_VALUES, LLAMA
from litgpt.domain.families.names import layer_rule, linear
from litgpt.domain.families.norms import QkNorms, RmsNorm
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import LAYER_TABLE, Key, Settings
from litgpt.domain.weights import Part

_ROPE = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1_000_000.0},
}


def _derived(settings: Settings) -> Mapping[str, object]:
    """Return the per-layer settings, which the config gives by layer type."""
    if settings.get(Key("use_bidirectional_attention", None)) == "all":
        raise settings.refuse("use_bidirectional_attention", "all")
    layers = settings.integer(Key("num_hidden_layers"))
    default = ["sliding_attention" if number % 6 else "full_attention" for number in range(1, layers + 1)]
    kinds = list(settings.get(Key("layer_types", default)))
    kinds[-1:] = ["full_attention"]  # as transformers does, overriding the config
    return {
        "rope_parameters": settings.get(Key("rope_parameters", _ROPE)),
        "layer_types": kinds,
        LAYER_TABLE: _of_layers(settings, kinds),
    }


def _of_layers(settings: Settings, kinds: list[str]) -> Mapping[str, object]:
    full: dict[str, object] = {"head_dim": settings.get(Key("global_head_dim", 512))}
    groups = settings.get(Key("num_global_key_value_heads", None))
    if groups is not None and settings.get(Key("attention_k_eq_v", default=False)):
        full["num_key_value_heads"] = groups
    # transformers 5 also writes an empty table; then the head dimension is the same in all layers.
    table = settings.mapping(Key(LAYER_TABLE)) if LAYER_TABLE in settings.values else None
    if table is None:
        table = {str(at): full for at, kind in enumerate(kinds) if kind == "full_attention"}
    if not settings.get(Key("use_double_wide_mlp", default=False)):
        return table
    first_borrower = max(0, len(kinds) - int(settings.get(Key("num_kv_shared_layers", 0))))
    return {**table, **{str(at): _wide(settings, table, at) for at in range(first_borrower, len(kinds))}}


def _wide(settings: Settings, table: Mapping[str, Mapping[str, object]], layer: int) -> dict[str, object]:
    """Return the settings of a layer with a doubled intermediate size."""
    overrides = table.get(str(layer), {})
    merged = attrs.evolve(settings, values={**settings.values, **overrides})
    return {**overrides, "intermediate_size": 2 * merged.integer(Key("intermediate_size", 9216))}


_NORM = RmsNorm()

GEMMA4_TEXT = attrs.evolve(
    GEMMA3_TEXT,
    model_type="gemma4_text",
    derived=_derived,
    attention=SoftmaxAttention(
        qkv_bias=BIAS,
        output_bias=BIAS,
        groups=Key("num_key_value_heads", 4),
        head_size=Key("head_dim", 256),
        scale=1.0,
        qk_norm=QkNorms(norm=_NORM),
        value_norm=attrs.evolve(_NORM, weight=False),
        windows=Windows(size=Key("sliding_window", 512)),
        rope=Rope(),
        values_are_keys=Key("attention_k_eq_v", default=False),
        borrowing=Key("num_kv_shared_layers", None),
    ),
    feed_forward=Beside(
        dense=Gated(activation=Key("hidden_act", "gelu_pytorch_tanh")),
        sparse=Sparse(
            count=(Key("num_experts"),),
            chosen=Key("top_k_experts"),
            expert=Gated(
                activation=Key("hidden_act", "gelu_pytorch_tanh"), size=Key("moe_intermediate_size")
            ),
            routing=Routing(norm=_NORM, by_width=True, expert_scale=True),
        ),
        enabled=Key("enable_moe_block", default=False),
    ),
    norm=_NORM,
    inputs=Inputs(),
    scaled=True,
    refused=LLAMA.refused,
    # Files also contain the unused key and value projections of KV-sharing layers.
    unused=(*LLAMA.unused, *KEYS_AND_VALUES),
    weights=(
        *GEMMA3_TEXT.weights,
        layer_rule("scale", "layer_scalar"),
        *PER_LAYER,
        *linear("mlp.dense.fc_1", "mlp.gate_proj"),
        *linear("mlp.dense.fc_2", "mlp.up_proj"),
        *linear("mlp.dense.proj", "mlp.down_proj"),
        layer_rule("mlp.norm_dense.weight", "pre_feedforward_layernorm.weight"),
        layer_rule("mlp.post_norm_dense.weight", "post_feedforward_layernorm_1.weight"),
        layer_rule("mlp.norm_sparse.weight", "pre_feedforward_layernorm_2.weight"),
        layer_rule("mlp.post_norm_sparse.weight", "post_feedforward_layernorm_2.weight"),
        layer_rule("mlp.sparse.gate.weight", "router.proj.weight"),
        layer_rule("mlp.sparse.gate.norm.weight", "router.scale"),
        layer_rule("mlp.sparse.gate.expert_scale", "router.per_expert_scale"),
        layer_rule("mlp.sparse.experts.{}.fc_1.weight", Part("experts.gate_up_proj", 0, 2), stacked=True),
        layer_rule("mlp.sparse.experts.{}.fc_2.weight", Part("experts.gate_up_proj", 1, 2), stacked=True),
        layer_rule("mlp.sparse.experts.{}.proj.weight", "experts.down_proj", stacked=True),
    ),
)
