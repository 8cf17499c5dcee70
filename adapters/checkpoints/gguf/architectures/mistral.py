"""Mistral Small 3, and Ministral 3, whose queries grow with their positions. GGUF calls both mistral3."""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.architectures.words import has
from litgpt.adapters.checkpoints.gguf.dialect import Config
from litgpt.adapters.checkpoints.gguf.rope import DEFAULT_BASE, rope_scaling
from litgpt.adapters.checkpoints.gguf.source import Source


def _growing(source: Source) -> Config:
    """Return how positions were stretched, and how queries grow with them."""
    multiplier = source.number("rope.scaling.yarn_log_multiplier")
    # YaRN's magnitude is the quotient of what the two make, which is 1.
    magnitude = {} if not multiplier else {"mscale": multiplier, "mscale_all_dim": multiplier}
    stretched = rope_scaling(source) or {"rope_type": "default"}
    growth = {
        "rope_theta": source.number("rope.freq_base") or DEFAULT_BASE,
        "llama_4_scaling_beta": source.number("attention.temperature_scale"),
    }
    return {"rope_scaling": {**stretched, **magnitude, **growth}}


MISTRAL3 = attrs.evolve(
    LLAMA,
    architecture="mistral3",
    refused=(*LLAMA.refused, "expert_count"),
    instead=(
        (
            has("attention.temperature_scale"),
            attrs.evolve(
                LLAMA,
                architecture="mistral3",
                model_type="ministral3",
                more=(_growing,),
                called={"rope_scaling": "rope_parameters"},
                refused=(*LLAMA.refused, "expert_count", "attention.sliding_window"),
                instead=(),
            ),
        ),
    ),
)
