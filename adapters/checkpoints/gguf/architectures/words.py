"""Words that the dialects share: settings, names, and what is worked out from a header."""

from collections.abc import Callable, Mapping

from litgpt.adapters.checkpoints.gguf.cursor import BOOL, Array
from litgpt.adapters.checkpoints.gguf.dialect import Config, Setting
from litgpt.adapters.checkpoints.gguf.placing import Each, Halves, Placing
from litgpt.adapters.checkpoints.gguf.rope import DEFAULT_BASE, rope_scaling
from litgpt.adapters.checkpoints.gguf.source import Source

LAYER = "model.layers.{}"
"""Where most families keep their layers."""

SIZES = (
    Setting("block_count", "num_hidden_layers", required=True),
    Setting("embedding_length", "hidden_size", required=True),
    Setting("feed_forward_length", "intermediate_size", required=True),
    Setting("context_length", "max_position_embeddings", required=True),
)
RMS = Setting("attention.layer_norm_rms_epsilon", "rms_norm_eps", whole=False, required=True)
LAYER_NORM = Setting("attention.layer_norm_epsilon", "layer_norm_eps", whole=False, required=True)
BASE = Setting("rope.freq_base", "rope_theta", whole=False, default=DEFAULT_BASE)
EXPERTS = (
    Setting("expert_count", "num_experts", required=True),
    Setting("expert_used_count", "num_experts_per_tok", required=True),
)
SCALES = ("attention.scale", "embedding_scale", "residual_scale", "logit_scale")
"""Keys that few families have, and that none of the others can say."""

OUTSIDE: Mapping[str, str] = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
ATTENTION: Mapping[str, str] = {
    "blk.{}.attn_norm": f"{LAYER}.input_layernorm",
    "blk.{}.attn_q": f"{LAYER}.self_attn.q_proj",
    "blk.{}.attn_k": f"{LAYER}.self_attn.k_proj",
    "blk.{}.attn_v": f"{LAYER}.self_attn.v_proj",
    "blk.{}.attn_output": f"{LAYER}.self_attn.o_proj",
}
QK_NORMS: Mapping[str, str] = {
    "blk.{}.attn_q_norm": f"{LAYER}.self_attn.q_norm",
    "blk.{}.attn_k_norm": f"{LAYER}.self_attn.k_norm",
}
PER_LAYER: Mapping[str, str] = {
    "per_layer_token_embd": "model.embed_tokens_per_layer",
    "per_layer_model_proj": "model.per_layer_model_projection",
    "per_layer_proj_norm": "model.per_layer_projection_norm",
    "blk.{}.inp_gate": f"{LAYER}.per_layer_input_gate",
    "blk.{}.proj": f"{LAYER}.per_layer_projection",
    "blk.{}.post_norm": f"{LAYER}.post_per_layer_input_norm",
}
GATED: Mapping[str, str] = {
    "blk.{}.ffn_norm": f"{LAYER}.post_attention_layernorm",
    "blk.{}.ffn_gate": f"{LAYER}.mlp.gate_proj",
    "blk.{}.ffn_up": f"{LAYER}.mlp.up_proj",
    "blk.{}.ffn_down": f"{LAYER}.mlp.down_proj",
}
_EXPERT = f"{LAYER}.mlp.experts.{{}}"
ROUTED: Mapping[str, str | Placing] = {
    "blk.{}.ffn_gate_inp": f"{LAYER}.mlp.gate",
    "blk.{}.ffn_gate_exps": Each(f"{_EXPERT}.gate_proj"),
    "blk.{}.ffn_up_exps": Each(f"{_EXPERT}.up_proj"),
    "blk.{}.ffn_down_exps": Each(f"{_EXPERT}.down_proj"),
    "blk.{}.ffn_gate_up_exps": Halves((f"{_EXPERT}.gate_proj", f"{_EXPERT}.up_proj")),
}


BIASED = ("attn_q", "attn_k", "attn_v", "attn_output")
"""The projections of attention, all of which have a bias or none, where one setting says so."""


def biases(**roles: tuple[str, ...]) -> Callable[[Source], Config]:
    """Return what finds out which biases a model has. GGUF has no key for them: tensors are there or not.

    Args:
        roles: For each setting, the tensors of which any has one.

    """

    def read(source: Source) -> Config:
        found = {
            name.removesuffix(".bias").rpartition(".")[2] for name in source.tensors if name.endswith(".bias")
        }
        return {setting: not found.isdisjoint(those) for setting, those in roles.items()}

    return read


def windows(default: int) -> Callable[[Source], Config]:
    """Return what finds out which layers see only a window.

    Args:
        default: Where a header does not say, every so many layers one sees everything.

    """

    def read(source: Source) -> Config:
        key = source.key("attention.sliding_window_pattern")
        value = source.metadata.values.get(key)
        if isinstance(value, Array) and value.kind == BOOL:
            kinds = ["sliding_attention" if windowed else "full_attention" for windowed in value.numbers()]
            return {"layer_types": kinds}
        return {"sliding_window_pattern": source.metadata.integer(key) or default}

    return read


def per_layer(source: Source) -> Config:
    """Return what is said of a second embedding."""
    embedding = source.tensors.get("per_layer_token_embd.weight")
    return {
        "hidden_size_per_layer_input": source.integer("embedding_length_per_layer_input") or 0,
        **({} if embedding is None else {"vocab_size_per_layer_input": embedding.shape[0]}),
    }


def expert_size(source: Source) -> Config:
    """Return the width in the middle of an expert, which not every header says and every tensor shows."""
    down = next((one for name, one in source.tensors.items() if name.endswith("ffn_down_exps.weight")), None)
    return {} if down is None else {"moe_intermediate_size": down.shape[-1]}


SOFTMAX, SIGMOID, SOFTMAX_OF_CHOSEN = 1, 2, 3
"""GGUF's numbers for how experts are scored."""


def scored(by: int, *, weighed: bool = False) -> Callable[[Source], Config]:
    """Return what refuses experts that are not chosen as those of a family are. It tells no setting.

    Args:
        by: How they are scored; a header may leave that out.
        weighed: Whether the family can weigh what they give, and deal them out to groups.

    """

    def read(source: Source) -> Config:
        if (function := source.integer("expert_gating_func") or by) != by:
            reason = f"its experts are scored by function {function}, which is not implemented."
            raise source.metadata.refuse(reason)
        for key in () if weighed else ("expert_weights_scale", "expert_group_count"):
            if source.number(key) not in (None, 0, 1):
                raise source.metadata.refuse(
                    f"its header asks for {source.key(key)!r}, which is not implemented."
                )
        return {}

    return read


def heads_only(source: Source) -> Config:
    """Return the heads of a family in which each has keys and values of its own, all as the width gives.

    Raises:
        UnsupportedModel: A header says otherwise.

    """
    return _by_width(source, {}) if source.groups == source.heads else _by_width(source, None)


def by_width(source: Source) -> Config:
    """Return the heads of a family whose head size is always the width over the heads.

    Raises:
        UnsupportedModel: A header says otherwise.

    """
    return _by_width(source, {"num_key_value_heads": source.groups})


def _by_width(source: Source, groups: Config | None) -> Config:
    usual = (source.integer("embedding_length") or 0) // source.heads
    sizes = {source.integer(f"attention.{one}_length") or usual for one in ("key", "value")}
    if groups is None or sizes != {usual}:
        raise source.metadata.refuse("its heads are not those of its family, which is not implemented.")
    return {"num_attention_heads": source.heads, **groups, "partial_rotary_factor": source.rotated_share}


def rotated(source: Source) -> Config:
    """Return the share of a head that is rotated, where another than all of it is usual."""
    return {"partial_rotary_factor": source.rotated_share}


def no_rotation(source: Source) -> Config:
    """Return the heads of a family that does not rotate, in which each has keys and values of its own.

    Raises:
        UnsupportedModel: They share keys and values.

    """
    if source.groups != source.heads:
        raise source.metadata.refuse("its heads share keys and values, which is not implemented.")
    return {"num_attention_heads": source.heads}


def has(key: str) -> Callable[[Source], bool]:
    """Return what finds out whether a header has a number other than 0 under a key."""
    return lambda source: bool(source.number(key))


def rope(**more: object) -> Callable[[Source], Config]:
    """Return what tells how positions were stretched, for a family with a way of its own where none is told.

    Args:
        more: What its configs say besides, where they were.

    """

    def read(source: Source) -> Config:
        scaling = rope_scaling(source)
        return {"rope_scaling": {"rope_type": "default"} if scaling is None else {**scaling, **more}}

    return read


def flagged(key: str, setting: str, *, default: bool) -> Callable[[Source], Config]:
    """Return what reads a flag.

    Args:
        key: GGUF's key, behind the architecture's name.
        setting: What it is in `config.json`.
        default: What its absence means.

    """

    def read(source: Source) -> Config:
        said = source.metadata.flag(source.key(key))
        return {setting: default if said is None else said}

    return read
