"""Granite 3, dense and with experts: GGUF has a key for each of its factors."""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.architectures.words import by_width
from litgpt.adapters.checkpoints.gguf.dialect import Config, Setting
from litgpt.adapters.checkpoints.gguf.source import Source


def _scores(source: Source) -> Config:
    """Return what multiplies the scores: where a header does not say, what does so elsewhere."""
    return {"attention_multiplier": source.number("attention.scale") or source.head_size**-0.5}


GRANITE = attrs.evolve(
    LLAMA,
    architecture="granite",
    model_type="granite",
    settings=(
        *LLAMA.settings,
        Setting("embedding_scale", "embedding_multiplier", whole=False, default=1.0),
        Setting("residual_scale", "residual_multiplier", whole=False, default=1.0),
        Setting("logit_scale", "logits_scaling", whole=False, required=True),
    ),
    attention=by_width,
    more=(*LLAMA.more, _scores),
    refused=("attention.clamp_kqv", "expert_count"),
    instead=(),
)
