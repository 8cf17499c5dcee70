"""MiniCPM 3: latent attention without experts, with scaled embeddings, layers and logits.

Source: Hu et al. 2024, arXiv:2404.06395, section 4 (scaling); MiniCPM Team 2024, "MiniCPM3-4B".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.deepseek import MLA_WEIGHTS
from litgpt.domain.families.llama import EMBEDDING_WEIGHTS, GATED_MLP_WEIGHTS, LLAMA, NORM_WEIGHTS
from litgpt.domain.families.schema.attention import MLASchema
from litgpt.domain.families.schema.family import ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema


def _scales(config: HFConfig) -> Mapping[str, object]:
    """Return the size of a value head and the scales, each of which a null disables."""
    width, layers = (config.integer(ConfigField(name)) for name in ("hidden_size", "num_hidden_layers"))
    depth = config.optional(ConfigField("scale_depth", 1.4, nullable=True))
    base = config.optional(ConfigField("dim_model_base", 256, nullable=True))
    value = config.get(ConfigField("v_head_dim", None))
    return {
        "v_head_dim": width // config.integer(ConfigField("num_attention_heads")) if value is None else value,
        "residual_scale": None if depth is None else depth / layers**0.5,
        "logits_scaling": None if base is None else width / base,
    }


MINICPM3 = attrs.evolve(
    LLAMA,
    model_type="minicpm3",
    normalize_config=_scales,
    attention=MLASchema(rope=RopeSchema(), q_lora_rank=ConfigField("q_lora_rank", 768, nullable=True)),
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
    residual=ResidualSchema(scale=ConfigField("residual_scale", None)),
    embedding_scale=ConfigField("scale_emb", 12),
    logit_divisor=ConfigField("logits_scaling", None),
    tie_word_embeddings=ConfigField("tie_word_embeddings", default=True),
    context_length=ConfigField("max_position_embeddings", 32_768),
    weights=(*EMBEDDING_WEIGHTS, *NORM_WEIGHTS, *MLA_WEIGHTS, *GATED_MLP_WEIGHTS),
)
