"""Gemma 3n. Of how many gates are shut, GGUF says by how many deviations they have to stand out."""

from statistics import NormalDist

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.gemma import CAPS, GEMMA2
from litgpt.adapters.checkpoints.gguf.architectures.words import (
    BASE,
    BIASED,
    LAYER,
    PER_LAYER,
    QK_NORMS,
    RMS,
    biases,
    per_layer,
    windows,
)
from litgpt.adapters.checkpoints.gguf.cursor import FLOAT32, Array
from litgpt.adapters.checkpoints.gguf.dialect import Config, Setting
from litgpt.adapters.checkpoints.gguf.placing import Each
from litgpt.adapters.checkpoints.gguf.rope import DEFAULT_BASE
from litgpt.adapters.checkpoints.gguf.source import Source

# What llama.cpp takes where a header is silent: those that are published have no other.
_STREAMS, _ACTIVE, _ROUND = 4, 0, 5


def _layers(source: Source) -> Config:
    """Return what is particular to layers: how wide they are, who borrows, how many gates are shut.

    Raises:
        DamagedFile: Not all of it is said of each layer.

    """
    key = source.key("activation_sparsity_scale")
    scales = source.metadata.values.get(key)
    if not isinstance(scales, Array) or scales.kind != FLOAT32 or len(scales) != source.layers:
        raise source.metadata.wrong(key, f"a list of {source.layers} numbers in float32")
    return {
        "intermediate_size": list(source.by_layer("feed_forward_length")),
        "num_kv_shared_layers": source.integer("attention.shared_kv_layers") or 0,
        "activation_sparsity_pattern": [NormalDist().cdf(one) for one in scales.numbers()],
    }


def _streams(source: Source) -> Config:
    """Return how many streams there are, and how narrow the middle beside attention is."""
    left = source.tensors.get("blk.0.laurel_l.weight")
    return {
        "altup_num_inputs": source.integer("altup.num_inputs") or _STREAMS,
        "altup_active_idx": source.integer("altup.active_idx") or _ACTIVE,
        **({} if left is None else {"laurel_rank": left.shape[0]}),
    }


GEMMA3N = attrs.evolve(
    GEMMA2,
    architecture="gemma3n",
    model_type="gemma3n_text",
    settings=(
        Setting("block_count", "num_hidden_layers", required=True),
        Setting("embedding_length", "hidden_size", required=True),
        Setting("context_length", "max_position_embeddings", required=True),
        RMS,
        BASE,
        Setting("rope.freq_base_swa", "rope_local_base_freq", whole=False, default=DEFAULT_BASE),
        Setting("attention.sliding_window", "sliding_window", required=True),
        *CAPS[1:],
    ),
    more=(_layers, _streams, per_layer, windows(_ROUND), biases(attention_bias=BIASED)),
    refused=(*GEMMA2.refused, "attn_logit_softcapping"),
    names={
        **GEMMA2.names,
        **QK_NORMS,
        **PER_LAYER,
        "altup_proj": Each("model.altup_projections.{}"),
        "altup_unembd_proj": Each("model.altup_unembed_projections.{}"),
        "blk.{}.altup_correct_coef": f"{LAYER}.altup.correction_coefs",
        "blk.{}.altup_correct_scale.weight": f"{LAYER}.altup.correct_output_scale",
        "blk.{}.altup_predict_coef": f"{LAYER}.altup.prediction_coefs",
        "blk.{}.altup_router": f"{LAYER}.altup.modality_router",
        "blk.{}.altup_router_norm": f"{LAYER}.altup.router_norm",
        "blk.{}.laurel_l": f"{LAYER}.laurel.linear_left",
        "blk.{}.laurel_r": f"{LAYER}.laurel.linear_right",
        "blk.{}.laurel_post_norm": f"{LAYER}.laurel.post_laurel_norm",
    },
    norms_add_one=False,
)
