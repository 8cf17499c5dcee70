"""Granite 4 and Bamba: Mamba-2 layers with a few layers of attention between them.

Source: IBM, Princeton & UIUC 2024, "Bamba: Inference-Efficient Hybrid Mamba2 Model".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.granite import ATTENTION, GRANITEMOE, MOE
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.hybrid import HybridSchema
from litgpt.domain.families.schema.mamba import Mamba2Schema
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.rope import NoPE, RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors
from litgpt.domain.weights.mapping import SourceSlice

MAMBA_WEIGHTS = (
    *linear_tensors("attn.in_proj", "mamba.in_proj"),
    *linear_tensors("attn.conv", "mamba.conv1d"),
    layer_tensor("attn.dt_bias", "mamba.dt_bias"),
    layer_tensor("attn.A_log", "mamba.A_log"),
    layer_tensor("attn.D", "mamba.D"),
    layer_tensor("attn.norm.weight", "mamba.norm.weight"),
    *linear_tensors("attn.out_proj", "mamba.out_proj"),
)


def _granite_settings(config: HFConfig) -> Mapping[str, object]:
    """Return the layers with experts and with RoPE: all or none."""
    layers = config.integer(ConfigField("num_hidden_layers"))
    rotated = config.get(ConfigField("position_embedding_type", None)) == "rope"
    kinds = config.get(ConfigField("layers_block_type", None))
    dense = config.get(ConfigField("num_local_experts", 8)) == 0
    return {
        "layers_with_rope": [int(rotated)] * layers,
        "layers_with_experts": [] if dense else list(range(layers)),
        "layer_types": config.get(ConfigField("layer_types", kinds)),
    }


_SHARED = GatedMLPSchema(intermediate_size=ConfigField("shared_intermediate_size", 1024))
_INPUT, _OUTPUT = "shared_mlp.input_linear.weight", "shared_mlp.output_linear.weight"

GRANITEMOEHYBRID = attrs.evolve(
    GRANITEMOE,
    model_type="granitemoehybrid",
    normalize_config=_granite_settings,
    attention=HybridSchema(
        full_attention=attrs.evolve(
            ATTENTION,
            rope=RopeSchema(nope_layers=NoPE(rotated_layers=ConfigField("layers_with_rope"))),
        ),
        linear_attention=Mamba2Schema(),
    ),
    mlp=attrs.evolve(
        MOE, shared_expert=_SHARED, dense=_SHARED, moe_layers=ConfigField("layers_with_experts")
    ),
    weights=(
        *GRANITEMOE.weights,
        *MAMBA_WEIGHTS,
        *(
            rule
            for module in ("mlp", "mlp.shared_experts")
            for rule in (
                layer_tensor(f"{module}.fc_1.weight", SourceSlice(_INPUT, 0, 2)),
                layer_tensor(f"{module}.fc_2.weight", SourceSlice(_INPUT, 1, 2)),
                layer_tensor(f"{module}.proj.weight", _OUTPUT),
            )
        ),
    ),
)
