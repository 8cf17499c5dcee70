"""Granite 3, dense and with experts: GGUF has a key for each of its factors."""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.architectures.words import (
    BIASED,
    LAYER,
    SOFTMAX,
    biases,
    by_width,
    scored,
)
from litgpt.adapters.checkpoints.gguf.dialect import Config, Setting
from litgpt.adapters.checkpoints.gguf.placing import Joined
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

_EXPERTS = f"{LAYER}.block_sparse_moe"

GRANITE_MOE = attrs.evolve(
    GRANITE,
    architecture="granitemoe",
    model_type="granitemoe",
    settings=(
        *GRANITE.settings,
        Setting("expert_count", "num_local_experts", required=True),
        Setting("expert_used_count", "num_experts_per_tok", required=True),
    ),
    more=(biases(attention_bias=BIASED), _scores, scored(SOFTMAX)),
    refused=("attention.clamp_kqv", "expert_shared_feed_forward_length"),
    names={
        **GRANITE.names,
        "blk.{}.ffn_gate_inp": f"{_EXPERTS}.router.layer",
        "blk.{}.ffn_gate_exps": Joined(f"{_EXPERTS}.input_linear", 0, 2, stacked=True),
        "blk.{}.ffn_up_exps": Joined(f"{_EXPERTS}.input_linear", 1, 2, stacked=True),
        "blk.{}.ffn_down_exps": f"{_EXPERTS}.output_linear",
    },
)
