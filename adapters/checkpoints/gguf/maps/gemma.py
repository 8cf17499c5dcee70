"""Gemma 1 to 3. GGUF adds 1 to their norm weights."""

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import Config, HeaderField
from litgpt.adapters.checkpoints.gguf.maps.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import LAYER, QK_NORM_TENSORS, sliding_windows
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.rope_scaling import DEFAULT_BASE

# Only the 27B models scale queries by hidden_size / num_heads; like llama.cpp, they are recognized by their
# number of layers.
_GEMMA2_27B_LAYERS = 46
_GEMMA3_27B_LAYERS = 62

SOFTCAP_FIELDS = tuple(
    HeaderField(f"{role}_logit_softcapping", f"{role}_logit_softcapping", is_integer=False)
    for role in ("attn", "final")
)

GEMMA = attrs.evolve(
    LLAMA,
    architecture="gemma",
    model_type="gemma",
    constants={"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh"},
    extra=(),
    unsupported_keys=(*LLAMA.unsupported_keys, "expert_count"),
    interleaved=False,
    norms_have_unit_offset=True,
    variants=(),
)


def _query_scale(model: GgufModel, layers_of_27b: int) -> Config:
    is_27b = model.integer("block_count") == layers_of_27b
    scalar = (model.integer("embedding_length") or 0) // model.num_heads if is_27b else model.head_dim
    return {"query_pre_attn_scalar": scalar}


GEMMA2 = attrs.evolve(
    GEMMA,
    architecture="gemma2",
    model_type="gemma2",
    fields=(
        *GEMMA.fields,
        HeaderField("attention.sliding_window", "sliding_window", default=4096),
        *SOFTCAP_FIELDS,
    ),
    constants={"hidden_activation": "gelu_pytorch_tanh"},
    extra=(lambda source: _query_scale(source, _GEMMA2_27B_LAYERS),),
    tensor_map={
        **GEMMA.tensor_map,
        "blk.{}.post_attention_norm": f"{LAYER}.post_attention_layernorm",
        "blk.{}.ffn_norm": f"{LAYER}.pre_feedforward_layernorm",
        "blk.{}.post_ffw_norm": f"{LAYER}.post_feedforward_layernorm",
    },
)

GEMMA3 = attrs.evolve(
    GEMMA2,
    architecture="gemma3",
    model_type="gemma3_text",
    fields=(
        *GEMMA.fields,
        HeaderField("attention.sliding_window", "sliding_window", required=True),
        HeaderField("rope.freq_base_swa", "rope_local_base_freq", is_integer=False, default=DEFAULT_BASE),
        *SOFTCAP_FIELDS,
    ),
    extra=(lambda source: _query_scale(source, _GEMMA3_27B_LAYERS), sliding_windows(6)),
    tensor_map={**GEMMA2.tensor_map, **QK_NORM_TENSORS},
)
