"""Qwen 3 Next and Qwen 3.5: three Gated DeltaNet layers to one layer of gated attention.

Source: Qwen Team 2025, "Qwen3-Next: Towards Ultimate Training & Inference Efficiency".
"""

import attrs

from litgpt.domain.families.llama import (
    ATTENTION_BIAS,
    EMBEDDING_WEIGHTS,
    GATED_MLP_WEIGHTS,
    LLAMA,
    NORM_WEIGHTS,
    QK_NORM_WEIGHTS,
)
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS, SHARED_EXPERT_WEIGHTS, STACKED_EXPERT_WEIGHTS
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.hybrid import (
    GatedDeltaSchema,
    HybridSchema,
    full_attention_every,
)
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors
from litgpt.domain.weights.mapping import SourceSlice

_NORM = RMSNormSchema(unit_offset=True)


def _interleaved_part(kind: str, index: int) -> SourceSlice:
    """Return the queries (0) or their gates (1), which are interleaved by head."""
    return SourceSlice(f"self_attn.q_proj.{kind}", index, 2, per_head=True)


_KINDS = ("weight", "bias")
GATED_ATTENTION_WEIGHTS = (
    *(
        layer_tensor(
            f"attn.qkv.{kind}",
            _interleaved_part(kind, 0),
            f"self_attn.k_proj.{kind}",
            f"self_attn.v_proj.{kind}",
        )
        for kind in _KINDS
    ),
    *(layer_tensor(f"attn.gate.{kind}", _interleaved_part(kind, 1)) for kind in _KINDS),
    *linear_tensors("attn.proj", "self_attn.o_proj"),
    *QK_NORM_WEIGHTS,
)
GATED_DELTA_WEIGHTS = (
    layer_tensor("attn.conv.weight", "linear_attn.conv1d.weight"),
    layer_tensor("attn.dt_bias", "linear_attn.dt_bias"),
    layer_tensor("attn.A_log", "linear_attn.A_log"),
    layer_tensor("attn.norm.weight", "linear_attn.norm.weight"),
    layer_tensor("attn.out_proj.weight", "linear_attn.out_proj.weight"),
)

_FULL = AttentionSchema(
    qkv_bias=ATTENTION_BIAS,
    output_bias=ATTENTION_BIAS,
    num_kv_heads=ConfigField("num_key_value_heads", 2),
    head_dim=ConfigField("head_dim", 256),
    qk_norm=QkNormSchema(norm=_NORM),
    rope=RopeSchema(partial_rotary_factor=ConfigField("partial_rotary_factor", 0.25)),
    output_gate=True,
)
_HYBRID = HybridSchema(
    mixers={"full_attention": _FULL, "linear_attention": GatedDeltaSchema()},
    default_type=full_attention_every(ConfigField("full_attention_interval", 4)),
)
_EXPERT = GatedMLPSchema(intermediate_size=ConfigField("moe_intermediate_size", 512))
_SHARED = GatedMLPSchema(intermediate_size=ConfigField("shared_expert_intermediate_size", 512))

# Layers for multi-token prediction (training and speculative decoding).
_UNUSED = (*LLAMA.unused_tensors, "mtp.*")

QWEN3_NEXT = attrs.evolve(
    LLAMA,
    model_type="qwen3_next",
    attention=_HYBRID,
    mlp=MoESchema(
        num_experts=(ConfigField("num_experts", 512),),
        expert=_EXPERT,
        num_experts_per_token=ConfigField("num_experts_per_tok", 10),
        router=RouterSchema(norm_topk_prob=ConfigField("norm_topk_prob", default=True)),
        shared_expert=_SHARED,
        shared_expert_gate=True,
        moe_every=ConfigField("decoder_sparse_step", 1),
        mlp_only_layers=ConfigField("mlp_only_layers", ()),
    ),
    norm=_NORM,
    context_length=ConfigField("max_position_embeddings", 32_768),
    unused_tensors=_UNUSED,
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *GATED_ATTENTION_WEIGHTS,
        *GATED_DELTA_WEIGHTS,
        layer_tensor("attn.qkvz.weight", "linear_attn.in_proj_qkvz.weight", grouped_qkv=True),
        layer_tensor("attn.ba.weight", "linear_attn.in_proj_ba.weight", grouped_qkv=True),
        *GATED_MLP_WEIGHTS,
        *EXPERT_WEIGHTS,
        *SHARED_EXPERT_WEIGHTS,
    ),
)

QWEN3_5_TEXT = attrs.evolve(
    QWEN3_NEXT,
    model_type="qwen3_5_text",
    attention=attrs.evolve(
        _HYBRID,
        mixers={
            **_HYBRID.mixers,
            "full_attention": attrs.evolve(_FULL, num_kv_heads=ConfigField("num_key_value_heads", 4)),
        },
    ),
    mlp=GatedMLPSchema(),
    prefix_aliases=(("model.language_model.", "model."),),
    unused_tensors=(*_UNUSED, "model.visual.*"),
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *GATED_ATTENTION_WEIGHTS,
        *GATED_DELTA_WEIGHTS,
        layer_tensor(
            "attn.qkvz.weight",
            "linear_attn.in_proj_qkv.weight",
            "linear_attn.in_proj_z.weight",
            pieces_per_source=(3, 1),
        ),
        layer_tensor("attn.ba.weight", "linear_attn.in_proj_b.weight", "linear_attn.in_proj_a.weight"),
        *GATED_MLP_WEIGHTS,
    ),
)

QWEN3_5_MOE_TEXT = attrs.evolve(
    QWEN3_5_TEXT,
    model_type="qwen3_5_moe_text",
    attention=_HYBRID,
    mlp=MoESchema(
        num_experts=(ConfigField("num_experts", 256),),
        expert=_EXPERT,
        num_experts_per_token=ConfigField("num_experts_per_tok", 8),
        shared_expert=_SHARED,
        shared_expert_gate=True,
    ),
    weights=(*QWEN3_5_TEXT.weights, *STACKED_EXPERT_WEIGHTS, *SHARED_EXPERT_WEIGHTS),
    alternative_weights=EXPERT_WEIGHTS,
)
