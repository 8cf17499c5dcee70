"""Llama 1 to 3.3, and models with the same structure (SmolLM2, TinyLlama, …).

Source: Touvron et al. 2023, arXiv:2302.13971; Grattafiori et al. 2024, arXiv:2407.21783.
"""

from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.family import Family
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors, model_tensors

EMBEDDING_WEIGHTS = (
    *model_tensors("transformer.wte", "model.embed_tokens"),
    *model_tensors("transformer.ln_f", "model.norm"),
    *model_tensors("lm_head", "lm_head"),
)
ATTENTION_WEIGHTS = (
    *linear_tensors("attn.qkv", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    *linear_tensors("attn.proj", "self_attn.o_proj"),
)
NORM_WEIGHTS = (
    *linear_tensors("norm_1", "input_layernorm"),
    *linear_tensors("norm_2", "post_attention_layernorm"),
)
GATED_MLP_WEIGHTS = (
    *linear_tensors("mlp.fc_1", "mlp.gate_proj"),
    *linear_tensors("mlp.fc_2", "mlp.up_proj"),
    *linear_tensors("mlp.proj", "mlp.down_proj"),
)
QK_NORM_WEIGHTS = (
    *linear_tensors("attn.norm_q", "self_attn.q_norm"),
    *linear_tensors("attn.norm_k", "self_attn.k_norm"),
)

ATTENTION_BIAS = ConfigField("attention_bias", default=False)
BIASED_ATTENTION = AttentionSchema(qkv_bias=ATTENTION_BIAS, output_bias=ATTENTION_BIAS)
"""Llama's attention, in which one setting controls the bias of all projections."""

LLAMA = Family(
    model_type="llama",
    attention=BIASED_ATTENTION,
    mlp=GatedMLPSchema(bias=ConfigField("mlp_bias", default=False)),
    weights=(*EMBEDDING_WEIGHTS, *NORM_WEIGHTS, *ATTENTION_WEIGHTS, *GATED_MLP_WEIGHTS),
)

UNUSED_KV = tuple(f"*.self_attn.{module}.*" for module in ("k_proj", "v_proj", "k_norm", "v_norm"))
"""Tensors that a layer with a shared KV cache does not use."""
