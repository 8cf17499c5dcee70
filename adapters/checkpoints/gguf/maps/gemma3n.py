"""Gemma 3n. GGUF stores activation sparsity as a number of standard deviations."""

from statistics import NormalDist

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import Config, HeaderField
from litgpt.adapters.checkpoints.gguf.maps.gemma import GEMMA2, SOFTCAP_FIELDS
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import (
    BIASED_TENSORS,
    LAYER,
    PER_LAYER_TENSORS,
    QK_NORM_TENSORS,
    RMS_NORM_EPS,
    ROPE_THETA,
    detect_biases,
    per_layer_embedding,
    sliding_windows,
)
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.reader.header_reader import FLOAT32, HeaderArray
from litgpt.adapters.checkpoints.gguf.rope_scaling import DEFAULT_BASE
from litgpt.adapters.checkpoints.gguf.tensor_layout import UnstackExperts

# llama.cpp's defaults, which all published models use.
_STREAMS, _ACTIVE, _ROUND = 4, 0, 5


def _per_layer_config(model: GgufModel) -> Config:
    key = model.key("activation_sparsity_scale")
    scales = model.metadata.values.get(key)
    if not isinstance(scales, HeaderArray) or scales.kind != FLOAT32 or len(scales) != model.num_layers:
        raise model.metadata.invalid(key, f"an array of {model.num_layers} float32 values")
    return {
        "intermediate_size": list(model.per_layer_integers("feed_forward_length")),
        "num_kv_shared_layers": model.integer("attention.shared_kv_layers") or 0,
        "activation_sparsity_pattern": [NormalDist().cdf(scale) for scale in scales.numbers()],
    }


def _altup_config(model: GgufModel) -> Config:
    left = model.tensors.get("blk.0.laurel_l.weight")
    return {
        "altup_num_inputs": model.integer("altup.num_inputs") or _STREAMS,
        "altup_active_idx": model.integer("altup.active_idx") or _ACTIVE,
        **({} if left is None else {"laurel_rank": left.shape[0]}),
    }


GEMMA3N = attrs.evolve(
    GEMMA2,
    architecture="gemma3n",
    model_type="gemma3n_text",
    fields=(
        HeaderField("block_count", "num_hidden_layers", required=True),
        HeaderField("embedding_length", "hidden_size", required=True),
        HeaderField("context_length", "max_position_embeddings", required=True),
        RMS_NORM_EPS,
        ROPE_THETA,
        HeaderField("rope.freq_base_swa", "rope_local_base_freq", is_integer=False, default=DEFAULT_BASE),
        HeaderField("attention.sliding_window", "sliding_window", required=True),
        *SOFTCAP_FIELDS[1:],
    ),
    extra=(
        _per_layer_config,
        _altup_config,
        per_layer_embedding,
        sliding_windows(_ROUND),
        detect_biases(attention_bias=BIASED_TENSORS),
    ),
    unsupported_keys=(*GEMMA2.unsupported_keys, "attn_logit_softcapping"),
    tensor_map={
        **GEMMA2.tensor_map,
        **QK_NORM_TENSORS,
        **PER_LAYER_TENSORS,
        "altup_proj": UnstackExperts("model.altup_projections.{}"),
        "altup_unembd_proj": UnstackExperts("model.altup_unembed_projections.{}"),
        "blk.{}.altup_correct_coef": f"{LAYER}.altup.correction_coefs",
        "blk.{}.altup_correct_scale.weight": f"{LAYER}.altup.correct_output_scale",
        "blk.{}.altup_predict_coef": f"{LAYER}.altup.prediction_coefs",
        "blk.{}.altup_router": f"{LAYER}.altup.modality_router",
        "blk.{}.altup_router_norm": f"{LAYER}.altup.router_norm",
        "blk.{}.laurel_l": f"{LAYER}.laurel.linear_left",
        "blk.{}.laurel_r": f"{LAYER}.laurel.linear_right",
        "blk.{}.laurel_post_norm": f"{LAYER}.laurel.post_laurel_norm",
    },
    norms_have_unit_offset=False,
)
