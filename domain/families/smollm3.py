"""SmolLM3: Llama without RoPE in every fourth layer (NoPE).

Source: Bakouch et al. 2025, "SmolLM3: smol, multilingual, long-context reasoner".
"""

import attrs

from litgpt.domain.families.llama import BIASED_ATTENTION, LLAMA
from litgpt.domain.families.rotary import Rope, Unrotated
from litgpt.domain.families.settings import Key

SMOLLM3 = attrs.evolve(
    LLAMA,
    model_type="smollm3",
    attention=attrs.evolve(
        BIASED_ATTENTION,
        groups=Key("num_key_value_heads", 4, null=True),
        rope=Rope(
            base=Key("rope_theta", 2_000_000.0),
            unrotated=Unrotated(listed=Key("no_rope_layers", None), every=Key("no_rope_layer_interval", 4)),
        ),
    ),
    tied=Key("tie_word_embeddings", default=True),
    context=Key("max_position_embeddings", 32_768),
    refused=(*LLAMA.refused, "use_sliding_window"),
)
