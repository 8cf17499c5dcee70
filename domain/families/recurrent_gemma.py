"""RecurrentGemma: two recurrent blocks of Griffin to one layer of attention with a sliding window.

Source: Botev et al. 2024, arXiv:2404.07839; De et al. 2024, arXiv:2402.19427.
"""

import struct
from collections.abc import Mapping

import attrs

from litgpt.domain.families.gemma import GEMMA
from litgpt.domain.families.llama import ATTENTION_BIAS
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.hybrid import HybridSchema, RGLRUSchema
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors, model_tensors

_TYPES = {"recurrent": "linear_attention", "attention": "sliding_attention"}


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    """Return the types of all layers, the size of the MLP, and the factor of the embeddings."""
    key = ConfigField("block_types", ["recurrent", "recurrent", "attention"])
    pattern = config.get(key)
    if not isinstance(pattern, list) or not pattern or not {*map(str, pattern)} <= {*_TYPES}:
        config.raise_invalid(key, "a list of 'recurrent' and 'attention'")
    layers = range(config.integer(ConfigField("num_hidden_layers")))
    size = config.integer(ConfigField("intermediate_size", 7680))
    width = config.integer(ConfigField("hidden_size"))
    return {
        "layer_types": [_TYPES[pattern[layer % len(pattern)]] for layer in layers],
        "intermediate_size": size // 2,  # of the gate and of the values together
        "embedding_factor": _bfloat16(width**0.5),
        "head_dim": width // config.integer(ConfigField("num_attention_heads")),
    }


def _bfloat16(number: float) -> float:
    """Return a positive number as rounded to bfloat16, in which the model was trained."""
    (bits,) = struct.unpack("<I", struct.pack("<f", number))
    (rounded,) = struct.unpack("<f", struct.pack("<I", (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000))
    return float(rounded)


RECURRENT_GEMMA = attrs.evolve(
    GEMMA,
    model_type="recurrent_gemma",
    normalize_config=_normalize_config,
    attention=HybridSchema(
        mixers={
            "sliding_attention": AttentionSchema(
                qkv_bias=ATTENTION_BIAS,
                output_bias=True,
                sliding_window=SlidingWindowSchema(size=ConfigField("attention_window_size", 2048)),
                rope=RopeSchema(partial_rotary_factor=ConfigField("partial_rotary_factor", 0.5)),
            ),
            "linear_attention": RGLRUSchema(),
        },
        default_type=lambda *_: "linear_attention",  # _normalize_config sets layer_types
    ),
    mlp=GatedMLPSchema(activation=ConfigField("hidden_act", "gelu_pytorch_tanh"), bias=True),
    scale_embedding=False,
    embedding_scale=ConfigField("embedding_factor"),
    final_logit_softcap=ConfigField("logits_soft_cap", 30.0),
    context_length=ConfigField("max_position_embeddings", 8192),
    weights=(
        *model_tensors("transformer.wte", "model.embed_tokens"),
        *model_tensors("transformer.ln_f", "model.final_norm"),
        *model_tensors("lm_head", "lm_head"),
        *linear_tensors("norm_1", "temporal_pre_norm"),
        *linear_tensors("norm_2", "channel_pre_norm"),
        *linear_tensors("attn.qkv", *(f"temporal_block.{part}_proj" for part in "qkv")),
        *linear_tensors("attn.proj", "temporal_block.o_proj"),
        *linear_tensors("attn.conv", "temporal_block.conv_1d"),
        *(
            rule
            for name in ("linear_x", "linear_y", "linear_out")
            for rule in linear_tensors(f"attn.{name}", f"temporal_block.{name}")
        ),
        *(
            layer_tensor(f"attn.{gate}_{kind}", f"temporal_block.rg_lru.{gate}_{kind}")
            for gate in ("input_gate", "recurrent_gate")
            for kind in ("weight", "bias")
        ),
        layer_tensor("attn.recurrent_param", "temporal_block.rg_lru.recurrent_param"),
        *linear_tensors("mlp.fc_1", "mlp_block.gate_proj"),
        *linear_tensors("mlp.fc_2", "mlp_block.up_proj"),
        *linear_tensors("mlp.proj", "mlp_block.down_proj"),
    ),
)
