"""Granite SWASH: Granite MoE with sliding windows, attention sinks and a RoPE base for each layer.

Source: Granite Team, IBM 2026, model card of granite-swash-3b-a600m.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.granite import ATTENTION, GRANITEMOESHARED
from litgpt.domain.families.schema.attention import SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import PER_LAYER_CONFIG, ConfigField, HFConfig
from litgpt.domain.families.schema.rope import NoPE, RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor
from litgpt.domain.weights.mapping import SourceSlice


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    """Return the types of the layers and the RoPE of each, which has none if its base is 0."""
    layers = range(config.integer(ConfigField("num_hidden_layers")))
    kinds = ["sliding_attention" if at % 4 else "full_attention" for at in layers]
    changes: dict[str, object] = {"layer_types": config.get(ConfigField("layer_types", kinds))}
    key = ConfigField("layer_rope_theta", None)
    if (bases := config.get(key)) is None:
        return changes
    if not isinstance(bases, list) or len(bases) < len(layers):
        config.raise_invalid(key, "a list with a number for each layer")
    rope = config.mapping(ConfigField("rope_parameters")) or config.mapping(ConfigField("rope_scaling"))
    table = config.mapping(ConfigField(PER_LAYER_CONFIG))
    return {
        **changes,
        "no_rope_layers": [bool(base) for base in bases],
        PER_LAYER_CONFIG: {
            str(at): {**table.get(str(at), {}), "rope_parameters": {**rope, "rope_theta": bases[at]}}
            for at in layers
        },
    }


_EXPERTS = "block_sparse_moe.experts"

GRANITEMOE_SWA = attrs.evolve(
    GRANITEMOESHARED,
    model_type="granitemoe_swa",
    normalize_config=_normalize_config,
    attention=attrs.evolve(
        ATTENTION,
        sliding_window=SlidingWindowSchema(size=ConfigField("sliding_window", 128)),
        rope=RopeSchema(nope_layers=NoPE(rotated_layers=ConfigField("no_rope_layers", None))),
        attention_sinks=True,
    ),
    weights=(
        *(rule for rule in GRANITEMOESHARED.weights if "block_sparse_moe" not in str(rule.hf_names)),
        layer_tensor("attn.sinks", "self_attn.sinks"),
        layer_tensor("mlp.gate.weight", "block_sparse_moe.router.weight"),
        layer_tensor(
            "mlp.experts.{}.fc_1.weight", SourceSlice(f"{_EXPERTS}.gate_up_proj", 0, 2), stacked_experts=True
        ),
        layer_tensor(
            "mlp.experts.{}.fc_2.weight", SourceSlice(f"{_EXPERTS}.gate_up_proj", 1, 2), stacked_experts=True
        ),
        layer_tensor("mlp.experts.{}.proj.weight", f"{_EXPERTS}.down_proj", stacked_experts=True),
    ),
)
