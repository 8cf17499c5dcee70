"""Persimmon: LayerNorm, QK-Norm per head, RoPE on half of each head, squared ReLU.

Source: Elsen et al. 2023, "Releasing Persimmon-8B".
"""

from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.family import Family
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import MLPSchema
from litgpt.domain.families.schema.norm import LayerNormSchema, QkNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors, model_tensors

_NORM = LayerNormSchema()

PERSIMMON = Family(
    model_type="persimmon",
    attention=AttentionSchema(
        qkv_bias=True,
        output_bias=True,
        num_kv_heads=None,
        qk_norm=QkNormSchema(norm=_NORM, enabled=ConfigField("qk_layernorm", default=True)),
        rope=RopeSchema(partial_rotary_factor=ConfigField("partial_rotary_factor", 0.5)),
    ),
    mlp=MLPSchema(activation=ConfigField("hidden_act", "relu2")),
    norm=_NORM,
    context_length=ConfigField("max_position_embeddings", 16_384),
    weights=(
        *model_tensors("transformer.wte", "model.embed_tokens"),
        *linear_tensors("norm_1", "input_layernorm"),
        *linear_tensors("attn.qkv", "self_attn.query_key_value", grouped_qkv=True),
        *linear_tensors("attn.norm_q", "self_attn.q_layernorm"),
        *linear_tensors("attn.norm_k", "self_attn.k_layernorm"),
        *linear_tensors("attn.proj", "self_attn.dense"),
        *linear_tensors("norm_2", "post_attention_layernorm"),
        *linear_tensors("mlp.fc", "mlp.dense_h_to_4h"),
        *linear_tensors("mlp.proj", "mlp.dense_4h_to_h"),
        *model_tensors("transformer.ln_f", "model.final_layernorm"),
        *model_tensors("lm_head", "lm_head"),
    ),
)
