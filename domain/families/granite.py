"""Granite 3: Llama with a factor on the embedding, the scores, what is added to the stream, and the logits.

Source: Granite Team, IBM 2024, "Granite 3.0 Language Models".
"""

import attrs

from litgpt.domain.families.family import Residual
from litgpt.domain.families.llama import BIASED_ATTENTION, LLAMA
from litgpt.domain.families.settings import Key

ATTENTION = attrs.evolve(BIASED_ATTENTION, scale=Key("attention_multiplier", 1.0))

GRANITE = attrs.evolve(
    LLAMA,
    model_type="granite",
    attention=ATTENTION,
    residual=Residual(scale=Key("residual_multiplier", 1.0)),
    embedding_scale=Key("embedding_multiplier", 1.0),
    logit_divisor=Key("logits_scaling", 1.0),
)
