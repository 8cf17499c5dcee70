"""StarCoder 2: Llama's attention with LayerNorm, non-gated MLPs and biases everywhere.

Source: Lozhkov et al. 2024, arXiv:2402.19173.
"""

import attrs

from litgpt.domain.families.llama import ATTENTION_WEIGHTS, EMBEDDING_WEIGHTS, LLAMA, NORM_WEIGHTS
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import MLPSchema
from litgpt.domain.families.schema.norm import LayerNormSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors

_BIAS = ConfigField("use_bias", default=True)

STARCODER2 = attrs.evolve(
    LLAMA,
    model_type="starcoder2",
    attention=AttentionSchema(
        qkv_bias=_BIAS,
        output_bias=_BIAS,
        num_kv_heads=ConfigField("num_key_value_heads", 2),
        sliding_window=SlidingWindowSchema(size=ConfigField("sliding_window", None)),
    ),
    mlp=MLPSchema(activation=ConfigField("hidden_act", "gelu_pytorch_tanh"), bias=_BIAS),
    norm=LayerNormSchema(eps=ConfigField("norm_epsilon", 1e-5)),
    tie_word_embeddings=ConfigField("tie_word_embeddings", default=True),
    context_length=ConfigField("max_position_embeddings", 4096),
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *ATTENTION_WEIGHTS,
        *linear_tensors("mlp.fc", "mlp.c_fc"),
        *linear_tensors("mlp.proj", "mlp.c_proj"),
    ),
)
