"""Fields, tensor names and derived settings shared by several architecture maps."""

from collections.abc import Callable, Mapping

from litgpt.adapters.checkpoints.gguf.architecture_map import Config, HeaderField
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.reader.header_reader import BOOL, HeaderArray
from litgpt.adapters.checkpoints.gguf.rope_scaling import DEFAULT_BASE, rope_scaling
from litgpt.adapters.checkpoints.gguf.tensor_layout import SplitGateUp, TensorLayout, UnstackExperts

LAYER = "model.layers.{}"
"""The prefix of layer tensors in most families."""

SIZE_FIELDS = (
    HeaderField("block_count", "num_hidden_layers", required=True),
    HeaderField("embedding_length", "hidden_size", required=True),
    HeaderField("feed_forward_length", "intermediate_size", required=True),
    HeaderField("context_length", "max_position_embeddings", required=True),
)
RMS_NORM_EPS = HeaderField(
    "attention.layer_norm_rms_epsilon", "rms_norm_eps", is_integer=False, required=True
)
LAYER_NORM_EPS = HeaderField(
    "attention.layer_norm_epsilon", "layer_norm_eps", is_integer=False, required=True
)
ROPE_THETA = HeaderField("rope.freq_base", "rope_theta", is_integer=False, default=DEFAULT_BASE)
EXPERT_FIELDS = (
    HeaderField("expert_count", "num_experts", required=True),
    HeaderField("expert_used_count", "num_experts_per_tok", required=True),
)
SCALE_KEYS = ("attention.scale", "embedding_scale", "residual_scale", "logit_scale")
"""Keys of a few families, which the others do not support."""

EMBEDDING_TENSORS: Mapping[str, str] = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
ATTENTION_TENSORS: Mapping[str, str] = {
    "blk.{}.attn_norm": f"{LAYER}.input_layernorm",
    "blk.{}.attn_q": f"{LAYER}.self_attn.q_proj",
    "blk.{}.attn_k": f"{LAYER}.self_attn.k_proj",
    "blk.{}.attn_v": f"{LAYER}.self_attn.v_proj",
    "blk.{}.attn_output": f"{LAYER}.self_attn.o_proj",
}
QK_NORM_TENSORS: Mapping[str, str] = {
    "blk.{}.attn_q_norm": f"{LAYER}.self_attn.q_norm",
    "blk.{}.attn_k_norm": f"{LAYER}.self_attn.k_norm",
}
PER_LAYER_TENSORS: Mapping[str, str] = {
    "per_layer_token_embd": "model.embed_tokens_per_layer",
    "per_layer_model_proj": "model.per_layer_model_projection",
    "per_layer_proj_norm": "model.per_layer_projection_norm",
    "blk.{}.inp_gate": f"{LAYER}.per_layer_input_gate",
    "blk.{}.proj": f"{LAYER}.per_layer_projection",
    "blk.{}.post_norm": f"{LAYER}.post_per_layer_input_norm",
}
GATED_MLP_TENSORS: Mapping[str, str] = {
    "blk.{}.ffn_norm": f"{LAYER}.post_attention_layernorm",
    "blk.{}.ffn_gate": f"{LAYER}.mlp.gate_proj",
    "blk.{}.ffn_up": f"{LAYER}.mlp.up_proj",
    "blk.{}.ffn_down": f"{LAYER}.mlp.down_proj",
}
_EXPERT = f"{LAYER}.mlp.experts.{{}}"
MOE_TENSORS: Mapping[str, str | TensorLayout] = {
    "blk.{}.ffn_gate_inp": f"{LAYER}.mlp.gate",
    "blk.{}.ffn_gate_exps": UnstackExperts(f"{_EXPERT}.gate_proj"),
    "blk.{}.ffn_up_exps": UnstackExperts(f"{_EXPERT}.up_proj"),
    "blk.{}.ffn_down_exps": UnstackExperts(f"{_EXPERT}.down_proj"),
    "blk.{}.ffn_gate_up_exps": SplitGateUp((f"{_EXPERT}.gate_proj", f"{_EXPERT}.up_proj")),
}


BIASED_TENSORS = ("attn_q", "attn_k", "attn_v", "attn_output")
"""The attention projections, which a single setting gives a bias."""


def detect_biases(**roles: tuple[str, ...]) -> Callable[[GgufModel], Config]:
    """Return a function that detects biases by the tensors of each setting; GGUF has no keys for them."""

    def read(model: GgufModel) -> Config:
        biased = {
            name.removesuffix(".bias").rpartition(".")[2] for name in model.tensors if name.endswith(".bias")
        }
        return {setting: not biased.isdisjoint(tensors) for setting, tensors in roles.items()}

    return read


def sliding_windows(default: int) -> Callable[[GgufModel], Config]:
    """Return a function that reads which layers have a window; `default` is the period of full attention."""

    def read(model: GgufModel) -> Config:
        key = model.key("attention.sliding_window_pattern")
        value = model.metadata.values.get(key)
        if isinstance(value, HeaderArray) and value.kind == BOOL:
            kinds = ["sliding_attention" if windowed else "full_attention" for windowed in value.numbers()]
            return {"layer_types": kinds}
        return {"sliding_window_pattern": model.metadata.integer(key) or default}

    return read


def per_layer_embedding(model: GgufModel) -> Config:
    """Return the settings of per-layer embeddings."""
    embedding = model.tensors.get("per_layer_token_embd.weight")
    return {
        "hidden_size_per_layer_input": model.integer("embedding_length_per_layer_input") or 0,
        **({} if embedding is None else {"vocab_size_per_layer_input": embedding.shape[0]}),
    }


def moe_intermediate_size(model: GgufModel) -> Config:
    """Return the hidden size of an expert, which not all headers contain, from a tensor."""
    down = next((info for name, info in model.tensors.items() if name.endswith("ffn_down_exps.weight")), None)
    return {} if down is None else {"moe_intermediate_size": down.shape[-1]}


SOFTMAX, SIGMOID, SOFTMAX_OF_TOP_K = 1, 2, 3
"""GGUF's numbers of expert gating functions."""


def require_scoring(by: int, *, weighed: bool = False) -> Callable[[GgufModel], Config]:
    """Return a function that rejects other expert routing than the family's; it yields no settings.

    `by` is the family's gating function, which a header may omit; `weighed` families support expert weight
    scales and expert groups.
    """

    def read(model: GgufModel) -> Config:
        if (function := model.integer("expert_gating_func") or by) != by:
            reason = f"its experts are scored by function {function}, which is not supported."
            raise model.metadata.unsupported(reason)
        for key in () if weighed else ("expert_weights_scale", "expert_group_count"):
            if model.number(key) not in (None, 0, 1):
                raise model.metadata.unsupported(
                    f"its header sets {model.key(key)!r}, which is not supported."
                )
        return {}

    return read


def multi_head_attention(model: GgufModel) -> Config:
    """Return the heads of a family without GQA, whose head size is `hidden_size // num_heads`."""
    return (
        _hidden_size_heads(model, {})
        if model.num_kv_heads == model.num_heads
        else _hidden_size_heads(model, None)
    )


def hidden_size_heads(model: GgufModel) -> Config:
    """Return the heads of a family whose head size is `hidden_size // num_heads`."""
    return _hidden_size_heads(model, {"num_key_value_heads": model.num_kv_heads})


def _hidden_size_heads(model: GgufModel, groups: Config | None) -> Config:
    expected = (model.integer("embedding_length") or 0) // model.num_heads
    sizes = {model.integer(f"attention.{part}_length") or expected for part in ("key", "value")}
    if groups is None or sizes != {expected}:
        raise model.metadata.unsupported(
            "its attention heads differ from its family's, which is not supported."
        )
    return {
        "num_attention_heads": model.num_heads,
        **groups,
        "partial_rotary_factor": model.partial_rotary_factor,
    }


def partial_rotary_factor(model: GgufModel) -> Config:
    """Return the rotated share of a head, for families whose default is not 1."""
    return {"partial_rotary_factor": model.partial_rotary_factor}


def without_rope(model: GgufModel) -> Config:
    """Return the heads of a family without RoPE and GQA."""
    if model.num_kv_heads != model.num_heads:
        raise model.metadata.unsupported("its heads share keys and values (GQA), which is not supported.")
    return {"num_attention_heads": model.num_heads}


def has_nonzero(key: str) -> Callable[[GgufModel], bool]:
    """Return a predicate: whether a header has a nonzero number under a key."""
    return lambda source: bool(source.number(key))


def rope_scaling_or(**more: object) -> Callable[[GgufModel], Config]:
    """Return a function that reads the RoPE scaling, for families whose default is the scaling `more`."""

    def read(model: GgufModel) -> Config:
        scaling = rope_scaling(model)
        return {"rope_scaling": {"rope_type": "default"} if scaling is None else {**scaling, **more}}

    return read


def flag_field(key: str, setting: str, *, default: bool) -> Callable[[GgufModel], Config]:
    """Return a function that reads a flag from a key without the architecture prefix."""

    def read(model: GgufModel) -> Config:
        flag = model.metadata.flag(model.key(key))
        return {setting: default if flag is None else flag}

    return read
