"""StableLM and StableCode: Llama with LayerNorm, partial RoPE and an optional parallel residual.

Source: Bellagente et al. 2024, arXiv:2402.17834.
"""

import attrs

from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.family import ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.norm import LayerNormSchema, QkNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor

_PARALLEL = ConfigField("use_parallel_residual", default=False)

STABLELM = attrs.evolve(
    LLAMA,
    model_type="stablelm",
    attention=AttentionSchema(
        qkv_bias=ConfigField("use_qkv_bias", default=False),
        num_kv_heads=ConfigField("num_key_value_heads", 32),
        qk_norm=QkNormSchema(
            norm=LayerNormSchema(bias=False),
            scope="heads",
            enabled=ConfigField("qk_layernorm", default=False),
        ),
        rope=RopeSchema(partial_rotary_factor=ConfigField("partial_rotary_factor", 0.25)),
    ),
    mlp=GatedMLPSchema(),
    norm=LayerNormSchema(),
    residual=ResidualSchema(parallel=_PARALLEL, shared_norm=True),
    context_length=ConfigField("max_position_embeddings", 4096),
    weights=(
        *LLAMA.weights,
        layer_tensor("attn.norm_q.weight", "self_attn.q_layernorm.norms.{piece}.weight"),
        layer_tensor("attn.norm_k.weight", "self_attn.k_layernorm.norms.{piece}.weight"),
    ),
)
