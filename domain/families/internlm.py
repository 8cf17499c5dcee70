"""InternLM 3, IQuest-Coder: Llama with other defaults and names of settings.

Source: Cai et al. 2024, arXiv:2403.17297; IQuest Lab 2026, "IQuest-Coder-V1".
"""

import attrs

from litgpt.domain.families.llama import ATTENTION_BIAS, LLAMA
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.norm import RMSNormSchema

_NORM = RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5))

INTERNLM3 = attrs.evolve(
    LLAMA,
    model_type="internlm3",
    attribute_map={"attention_bias": "qkv_bias", "mlp_bias": "bias"},
    attention=AttentionSchema(
        qkv_bias=ATTENTION_BIAS,
        output_bias=ConfigField("mlp_bias", default=False),
        num_kv_heads=ConfigField("num_key_value_heads", 2, nullable=True),
        head_dim=ConfigField("head_dim", 128, nullable=True),
    ),
    norm=_NORM,
    context_length=ConfigField("max_position_embeddings", 32_768),
)

IQUESTCODER = attrs.evolve(
    LLAMA,
    model_type="iquestcoder",
    attention=AttentionSchema(
        qkv_bias=ATTENTION_BIAS,
        output_bias=ATTENTION_BIAS,
        num_kv_heads=ConfigField("num_key_value_heads", 8, nullable=True),
        head_dim=ConfigField("head_dim", 128, nullable=True),
    ),
    norm=_NORM,
    context_length=ConfigField("max_position_embeddings", 131_072),
    unsupported_settings=(*LLAMA.unsupported_settings, "clip_qkv", "use_sliding_window"),
)
