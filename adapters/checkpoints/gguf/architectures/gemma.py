"""Gemma 1 to 3. GGUF adds to the weights of their norms the 1 that they count from."""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.architectures.words import LAYER, QK_NORMS, windows
from litgpt.adapters.checkpoints.gguf.dialect import Config, Setting
from litgpt.adapters.checkpoints.gguf.rope import DEFAULT_BASE
from litgpt.adapters.checkpoints.gguf.source import Source

# The largest of Gemma 2 and 3 alone divide scores by the root of the width over the heads; their headers do
# not say so, and llama.cpp knows them by their layers.
_GEMMA2_27B_LAYERS = 46
_GEMMA3_27B_LAYERS = 62

CAPS = tuple(
    Setting(f"{one}_logit_softcapping", f"{one}_logit_softcapping", whole=False) for one in ("attn", "final")
)

GEMMA = attrs.evolve(
    LLAMA,
    architecture="gemma",
    model_type="gemma",
    constants={"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh"},
    more=(),
    refused=(*LLAMA.refused, "expert_count"),
    interleaved=False,
    norms_add_one=True,
    instead=(),
)


def _scores(source: Source, layers_of_the_largest: int) -> Config:
    """Return how scores are scaled."""
    largest = source.integer("block_count") == layers_of_the_largest
    scaled_by = (source.integer("embedding_length") or 0) // source.heads if largest else source.head_size
    return {"query_pre_attn_scalar": scaled_by}


GEMMA2 = attrs.evolve(
    GEMMA,
    architecture="gemma2",
    model_type="gemma2",
    settings=(
        *GEMMA.settings,
        Setting("attention.sliding_window", "sliding_window", default=4096),
        *CAPS,
    ),
    constants={"hidden_activation": "gelu_pytorch_tanh"},
    more=(lambda source: _scores(source, _GEMMA2_27B_LAYERS),),
    names={
        **GEMMA.names,
        "blk.{}.post_attention_norm": f"{LAYER}.post_attention_layernorm",
        "blk.{}.ffn_norm": f"{LAYER}.pre_feedforward_layernorm",
        "blk.{}.post_ffw_norm": f"{LAYER}.post_feedforward_layernorm",
    },
)

GEMMA3 = attrs.evolve(
    GEMMA2,
    architecture="gemma3",
    model_type="gemma3_text",
    settings=(
        *GEMMA.settings,
        Setting("attention.sliding_window", "sliding_window", required=True),
        Setting("rope.freq_base_swa", "rope_local_base_freq", whole=False, default=DEFAULT_BASE),
        *CAPS,
    ),
    more=(lambda source: _scores(source, _GEMMA3_27B_LAYERS), windows(6)),
    names={**GEMMA2.names, **QK_NORMS},
)
