"""SmolLM3: Llama without RoPE in every fourth layer (NoPE).

Source: Bakouch et al. 2025, "SmolLM3: smol, multilingual, long-context reasoner".
"""

import attrs

from litgpt.domain.families.llama import BIASED_ATTENTION, LLAMA
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.rope import NoPE, RopeSchema

SMOLLM3 = attrs.evolve(
    LLAMA,
    model_type="smollm3",
    attention=attrs.evolve(
        BIASED_ATTENTION,
        num_kv_heads=ConfigField("num_key_value_heads", 4, nullable=True),
        rope=RopeSchema(
            theta=ConfigField("rope_theta", 2_000_000.0),
            nope_layers=NoPE(
                rotated_layers=ConfigField("no_rope_layers", None),
                interval=ConfigField("no_rope_layer_interval", 4),
            ),
        ),
    ),
    tie_word_embeddings=ConfigField("tie_word_embeddings", default=True),
    context_length=ConfigField("max_position_embeddings", 32_768),
    unsupported_settings=(*LLAMA.unsupported_settings, "use_sliding_window"),
)
