"""Phi 1, 1.5 and 2; Phi 3, 3.5 and 4: Llama with fused projections and LongRoPE.

Source: Li et al. 2023, arXiv:2309.05463; Abdin et al. 2024, arXiv:2404.14219.
"""

import attrs

from litgpt.domain.families.llama import EMBEDDING_WEIGHTS, LLAMA, NORM_WEIGHTS
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.family import Family, ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema, MLPSchema
from litgpt.domain.families.schema.norm import LayerNormSchema, QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors, model_tensors
from litgpt.domain.weights.mapping import SourceSlice

PHI = Family(
    model_type="phi",
    attention=AttentionSchema(
        qkv_bias=True,
        output_bias=True,
        qk_norm=QkNormSchema(norm=LayerNormSchema(), enabled=ConfigField("qk_layernorm", default=False)),
        rope=RopeSchema(partial_rotary_factor=ConfigField("partial_rotary_factor", 0.5)),
    ),
    mlp=MLPSchema(activation=ConfigField("hidden_act", "gelu_new")),
    norm=LayerNormSchema(),
    residual=ResidualSchema(parallel=True, shared_norm=True),
    lm_head_bias=True,
    weights=(
        *model_tensors("transformer.wte", "model.embed_tokens"),
        *linear_tensors("norm_1", "input_layernorm"),
        *linear_tensors("attn.qkv", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        *linear_tensors("attn.norm_q", "self_attn.q_layernorm"),
        *linear_tensors("attn.norm_k", "self_attn.k_layernorm"),
        *linear_tensors("attn.proj", "self_attn.dense"),
        *linear_tensors("mlp.fc", "mlp.fc1"),
        *linear_tensors("mlp.proj", "mlp.fc2"),
        *model_tensors("transformer.ln_f", "model.final_layernorm"),
        *model_tensors("lm_head", "lm_head"),
    ),
)

GATE_UP_WEIGHTS = (
    layer_tensor("mlp.fc_1.weight", SourceSlice("mlp.gate_up_proj.weight", 0, 2)),
    layer_tensor("mlp.fc_2.weight", SourceSlice("mlp.gate_up_proj.weight", 1, 2)),
    layer_tensor("mlp.proj.weight", "mlp.down_proj.weight"),
)
"""A gated MLP whose gate and up projections are fused in one tensor."""

PHI3 = attrs.evolve(
    LLAMA,
    model_type="phi3",
    attention=AttentionSchema(
        sliding_window=SlidingWindowSchema(size=ConfigField("sliding_window", None)),
        rope=RopeSchema(partial_rotary_factor=ConfigField("partial_rotary_factor", 1.0)),
    ),
    mlp=GatedMLPSchema(),
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
    context_length=ConfigField("max_position_embeddings", 4096),
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        layer_tensor("attn.qkv.weight", "self_attn.qkv_proj.weight"),
        layer_tensor("attn.proj.weight", "self_attn.o_proj.weight"),
        *GATE_UP_WEIGHTS,
    ),
)
