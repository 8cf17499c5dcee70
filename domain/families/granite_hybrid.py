"""Granite 4 and Bamba: Mamba-2 layers with a few layers of attention between them.

Source: IBM, Princeton & UIUC 2024, "Bamba: Inference-Efficient Hybrid Mamba2 Model".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.granite import ATTENTION, GRANITEMOE, MOE
from litgpt.domain.families.llama import ATTENTION_WEIGHTS, BIASED_ATTENTION, LLAMA
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.hybrid import HybridSchema, current_layer_types
from litgpt.domain.families.schema.mamba import Mamba2Schema
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.families.schema.rope import NoPE, RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors, model_tensors
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
        "layer_types": current_layer_types(config.get(ConfigField("layer_types", kinds))),
    }


_SHARED = GatedMLPSchema(intermediate_size=ConfigField("shared_intermediate_size", 1024))
_INPUT, _OUTPUT = "shared_mlp.input_linear.weight", "shared_mlp.output_linear.weight"

GRANITEMOEHYBRID = attrs.evolve(
    GRANITEMOE,
    model_type="granitemoehybrid",
    normalize_config=_granite_settings,
    attention=HybridSchema(
        mixers={
            "full_attention": attrs.evolve(
                ATTENTION,
                rope=RopeSchema(nope_layers=NoPE(rotated_layers=ConfigField("layers_with_rope"))),
            ),
            "linear_attention": Mamba2Schema(),
        },
        default_type=lambda *_: "linear_attention",
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


def _bamba_settings(config: HFConfig) -> Mapping[str, object]:
    """Return the type of each layer."""
    attention = config.get(ConfigField("attn_layer_indices", None)) or []
    if not isinstance(attention, list):
        config.raise_invalid(ConfigField("attn_layer_indices"), "a list of layers")
    layers = range(config.integer(ConfigField("num_hidden_layers")))
    return {"layer_types": ["full_attention" if it in attention else "linear_attention" for it in layers]}


_NORM = RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5))

BAMBA = attrs.evolve(
    LLAMA,
    model_type="bamba",
    normalize_config=_bamba_settings,
    attention=HybridSchema(
        mixers={
            "full_attention": attrs.evolve(
                BIASED_ATTENTION,
                num_kv_heads=ConfigField("num_key_value_heads", 8),
                rope=RopeSchema(partial_rotary_factor=ConfigField("partial_rotary_factor", 0.5)),
            ),
            "linear_attention": Mamba2Schema(norm=_NORM),
        },
        default_type=lambda *_: "linear_attention",
    ),
    norm=_NORM,
    context_length=ConfigField("max_position_embeddings", 262_144),
    weights=(
        *model_tensors("transformer.wte", "model.embed_tokens"),
        *model_tensors("transformer.ln_f", "model.final_layernorm"),
        *model_tensors("lm_head", "lm_head"),
        *linear_tensors("norm_1", "input_layernorm"),
        *linear_tensors("norm_2", "pre_ff_layernorm"),
        *ATTENTION_WEIGHTS,
        *MAMBA_WEIGHTS,
        *linear_tensors("mlp.fc_1", "feed_forward.gate_proj"),
        *linear_tensors("mlp.fc_2", "feed_forward.up_proj"),
        *linear_tensors("mlp.proj", "feed_forward.down_proj"),
    ),
)
