"""Granite 3, dense and MoE: GGUF has a key for each of its multipliers."""

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import Config, HeaderField
from litgpt.adapters.checkpoints.gguf.maps.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import (
    BIASED_TENSORS,
    LAYER,
    SOFTMAX,
    detect_biases,
    hidden_size_heads,
    require_scoring,
)
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.tensor_layout import Concat


def _attention_multiplier(model: GgufModel) -> Config:
    """Return the attention multiplier; the default is 1 / sqrt(head_dim)."""
    return {"attention_multiplier": model.number("attention.scale") or model.head_dim**-0.5}


GRANITE = attrs.evolve(
    LLAMA,
    architecture="granite",
    model_type="granite",
    fields=(
        *LLAMA.fields,
        HeaderField("embedding_scale", "embedding_multiplier", is_integer=False, default=1.0),
        HeaderField("residual_scale", "residual_multiplier", is_integer=False, default=1.0),
        HeaderField("logit_scale", "logits_scaling", is_integer=False, required=True),
    ),
    attention=hidden_size_heads,
    extra=(*LLAMA.extra, _attention_multiplier),
    unsupported_keys=("attention.clamp_kqv", "expert_count"),
    variants=(),
)

_EXPERTS = f"{LAYER}.block_sparse_moe"

GRANITE_MOE = attrs.evolve(
    GRANITE,
    architecture="granitemoe",
    model_type="granitemoe",
    fields=(
        *GRANITE.fields,
        HeaderField("expert_count", "num_local_experts", required=True),
        HeaderField("expert_used_count", "num_experts_per_tok", required=True),
    ),
    extra=(detect_biases(attention_bias=BIASED_TENSORS), _attention_multiplier, require_scoring(SOFTMAX)),
    unsupported_keys=("attention.clamp_kqv", "expert_shared_feed_forward_length"),
    tensor_map={
        **GRANITE.tensor_map,
        "blk.{}.ffn_gate_inp": f"{_EXPERTS}.router.layer",
        "blk.{}.ffn_gate_exps": Concat(f"{_EXPERTS}.input_linear", 0, 2, stacked=True),
        "blk.{}.ffn_up_exps": Concat(f"{_EXPERTS}.input_linear", 1, 2, stacked=True),
        "blk.{}.ffn_down_exps": f"{_EXPERTS}.output_linear",
    },
)
