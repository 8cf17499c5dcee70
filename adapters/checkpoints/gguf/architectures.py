"""The architectures of GGUF, as data: each says how its models are told in Hugging Face's dialect.

Source: `gguf-py/gguf/constants.py` (keys and tensor names), `convert_hf_to_gguf.py` (what was done to the
numbers) and `src/llama-model.cpp` (what the absence of a key means), all in llama.cpp.
"""

import attrs

from litgpt.adapters.checkpoints.gguf.cursor import BOOL, Array
from litgpt.adapters.checkpoints.gguf.dialect import Config, Dialect, Setting
from litgpt.adapters.checkpoints.gguf.metadata import Metadata
from litgpt.adapters.checkpoints.gguf.rope import DEFAULT_BASE
from litgpt.adapters.checkpoints.gguf.source import Source

_LAYER = "model.layers.{}"


def _biases(source: Source) -> Config:
    """Return which biases a model has. GGUF has no key for them: the tensors are there or not."""
    roles = {
        name.removesuffix(".bias").rpartition(".")[2] for name in source.tensors if name.endswith(".bias")
    }
    return {
        "attention_bias": not roles.isdisjoint({"attn_q", "attn_k", "attn_v", "attn_output"}),
        "mlp_bias": not roles.isdisjoint({"ffn_gate", "ffn_up", "ffn_down"}),
    }


LLAMA = Dialect(
    architecture="llama",
    model_type="llama",
    settings=(
        Setting("block_count", "num_hidden_layers", required=True),
        Setting("embedding_length", "hidden_size", required=True),
        Setting("feed_forward_length", "intermediate_size", required=True),
        Setting("context_length", "max_position_embeddings", required=True),
        Setting("attention.layer_norm_rms_epsilon", "rms_norm_eps", whole=False, required=True),
        Setting("rope.freq_base", "rope_theta", whole=False, default=DEFAULT_BASE),
    ),
    constants={"hidden_act": "silu"},
    more=(_biases,),
    refused=(
        "expert_count",
        "attention.scale",
        "attention.clamp_kqv",
        "embedding_scale",
        "residual_scale",
        "logit_scale",
    ),
    names={
        "token_embd": "model.embed_tokens",
        "blk.{}.attn_norm": f"{_LAYER}.input_layernorm",
        "blk.{}.attn_q": f"{_LAYER}.self_attn.q_proj",
        "blk.{}.attn_k": f"{_LAYER}.self_attn.k_proj",
        "blk.{}.attn_v": f"{_LAYER}.self_attn.v_proj",
        "blk.{}.attn_output": f"{_LAYER}.self_attn.o_proj",
        "blk.{}.ffn_norm": f"{_LAYER}.post_attention_layernorm",
        "blk.{}.ffn_gate": f"{_LAYER}.mlp.gate_proj",
        "blk.{}.ffn_up": f"{_LAYER}.mlp.up_proj",
        "blk.{}.ffn_down": f"{_LAYER}.mlp.down_proj",
        "output_norm": "model.norm",
        "output": "lm_head",
    },
    interleaved=True,
)

QWEN2 = attrs.evolve(LLAMA, architecture="qwen2", model_type="qwen2", more=(), interleaved=False)

# Gemma 3 27B alone divides scores by the root of the width over the heads; its header does not say so, and
# llama.cpp knows it by its layers.
_GEMMA3_27B_LAYERS = 62


def _gemma3(source: Source) -> Config:
    """Return how Gemma 3 scales its scores and which of its layers see only a window."""
    large = source.integer("block_count") == _GEMMA3_27B_LAYERS
    scaled_by = (source.integer("embedding_length") or 0) // source.heads if large else source.head_size
    return {"query_pre_attn_scalar": scaled_by, **_windows(source)}


def _windows(source: Source) -> Config:
    """Return which layers see only a window: every layer is told, or every n-th is none, or every sixth."""
    key = source.key("attention.sliding_window_pattern")
    value = source.metadata.values.get(key)
    if isinstance(value, Array) and value.kind == BOOL:
        kinds = ["sliding_attention" if windowed else "full_attention" for windowed in value.numbers()]
        return {"layer_types": kinds}
    return {"sliding_window_pattern": source.metadata.integer(key) or 6}


GEMMA3 = attrs.evolve(
    LLAMA,
    architecture="gemma3",
    model_type="gemma3_text",
    settings=(
        *LLAMA.settings,
        Setting("attention.sliding_window", "sliding_window", required=True),
        Setting("rope.freq_base_swa", "rope_local_base_freq", whole=False, default=DEFAULT_BASE),
        Setting("attn_logit_softcapping", "attn_logit_softcapping", whole=False),
        Setting("final_logit_softcapping", "final_logit_softcapping", whole=False),
    ),
    constants={"hidden_activation": "gelu_pytorch_tanh"},
    more=(_gemma3,),
    names={
        **LLAMA.names,
        "blk.{}.attn_q_norm": f"{_LAYER}.self_attn.q_norm",
        "blk.{}.attn_k_norm": f"{_LAYER}.self_attn.k_norm",
        "blk.{}.post_attention_norm": f"{_LAYER}.post_attention_layernorm",
        "blk.{}.ffn_norm": f"{_LAYER}.pre_feedforward_layernorm",
        "blk.{}.post_ffw_norm": f"{_LAYER}.post_feedforward_layernorm",
    },
    interleaved=False,
    norms_add_one=True,
)

DIALECTS: dict[str, Dialect] = {dialect.architecture: dialect for dialect in (LLAMA, QWEN2, GEMMA3)}
"""Every architecture that is implemented, by GGUF's name for it."""


def dialect_of(metadata: Metadata) -> Dialect:
    """Return how a model's architecture is written.

    Raises:
        DamagedFile: It names none.
        UnsupportedModel: It is none of these, or no model.

    """
    if (kind := metadata.text("general.type") or "model") != "model":
        raise metadata.refuse(f"it holds no model but what GGUF calls {kind!r}.")
    architecture = metadata.text("general.architecture")
    if architecture is None:
        raise metadata.missing("general.architecture")
    if architecture not in DIALECTS:
        known = ", ".join(sorted(DIALECTS))
        raise metadata.refuse(f"its architecture {architecture!r} is not one of those implemented: {known}.")
    return DIALECTS[architecture]
