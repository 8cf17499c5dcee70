"""The parameters of an architecture: names, shapes and roles."""

import math
from collections.abc import Iterator
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.model import (
    AltUpSpec,
    AnyMLPSpec,
    Architecture,
    AttentionSpec,
    DenseAndMoESpec,
    GatedDeltaSpec,
    GatedMLPSpec,
    LayerSpec,
    MixerSpec,
    MLASpec,
    MLPSpec,
    MoESpec,
    NormSpec,
    QkNormSpec,
)

ParameterRole: TypeAlias = Literal[
    "projection", "output", "embedding", "bias", "norm", "norm_from_1", "buffer"
]
"""Role of a parameter, which determines its initialization.

A `buffer` is in float32 and not trained; an `output` projects back into the residual stream; a
`norm_from_1` multiplies by `1 + weight`.
"""


XIELU_PARAMETERS: tuple[tuple[str, ParameterRole, float], ...] = (
    ("alpha_p", "bias", math.log(math.expm1(0.8))),
    ("alpha_n", "bias", math.log(math.expm1(0.3))),
    ("beta", "buffer", 0.5),
    ("eps", "buffer", -1e-6),
)
"""Parameters of the activation xIELU: name, role and initial value."""


@attrs.frozen
class ParameterSpec:
    """A parameter of the model.

    Attributes:
        name: LitGPT's name, such as `transformer.h.0.attn.qkv.weight`.
        split_sizes: Rows of each fused piece, such as Q, K and V; they sum to `shape[0]`.
        num_groups: Number of key-value heads of a fused projection, by which checkpoints may interleave
            pieces.
        num_experts: Number of experts, for a parameter of an expert.
        init_value: Initial value of all elements; None uses the default of the role.
        head_dim: Rows per head, by which checkpoints may interleave pieces.
        skip_quantization: Whether the parameter is not quantized, as it is small and sensitive.
    """

    name: str
    shape: tuple[int, ...]
    split_sizes: tuple[int, ...]
    role: ParameterRole = "projection"
    num_groups: int = 1
    num_experts: int = 1
    init_value: float | None = None
    head_dim: int = 1
    skip_quantization: bool = False


def parameters(architecture: Architecture) -> Iterator[ParameterSpec]:
    """Yield every parameter of an architecture once, in model order."""
    width, vocab = architecture.hidden_size, architecture.vocab_size
    yield _tensor("transformer.wte.weight", vocab, width, role="embedding")
    yield from _norm("transformer.wte_norm", architecture.embedding_norm, width)
    if architecture.num_position_embeddings is not None:
        yield _tensor("transformer.wpe.weight", architecture.num_position_embeddings, width, role="embedding")
    if (per_layer := architecture.per_layer_embedding) is not None:
        parts = len(architecture.layers) * per_layer.hidden_size_per_layer
        yield _tensor("transformer.per_layer.embedding.weight", per_layer.vocab_size, parts, role="embedding")
        yield from _linear("transformer.per_layer.proj", parts, width)
        yield from _norm("transformer.per_layer.norm", per_layer.norm, per_layer.hidden_size_per_layer)
    for number in range(architecture.num_streams - 1):
        yield from _linear(f"transformer.fork.{number}", width, width)
    for number, layer in enumerate(architecture.layers):
        for parameter in _layer(layer, width):
            yield attrs.evolve(parameter, name=f"transformer.h.{number}.{parameter.name}")
    for number in range(architecture.num_streams - 1):
        yield from _linear(f"transformer.merge.{number}", width, width)
    yield from _norm("transformer.ln_f", architecture.final_norm, width)
    if not architecture.tie_word_embeddings:
        yield attrs.evolve(_tensor("lm_head.weight", vocab, width), skip_quantization=True)
    if architecture.lm_head_bias:
        yield _tensor("lm_head.bias", vocab, role="bias")


def _layer(layer: LayerSpec, hidden_size: int) -> Iterator[ParameterSpec]:
    yield from _norm("norm_1", layer.norm_1, hidden_size)
    yield from _mixer(layer.mixer, hidden_size)
    yield from _norm("post_attention_norm", layer.post_mixer_norm, hidden_size)
    yield from _norm("norm_2", layer.norm_2, hidden_size)
    yield from _mlp("mlp", layer.mlp, hidden_size)
    yield from _norm("post_mlp_norm", layer.post_mlp_norm, hidden_size)
    if layer.per_layer_input is not None:
        yield from _linear("input.gate", layer.per_layer_input.hidden_size_per_layer, hidden_size)
        yield from _linear(
            "input.proj", hidden_size, layer.per_layer_input.hidden_size_per_layer, role="output"
        )
        yield from _norm("input.norm", layer.per_layer_input.norm, hidden_size)
    if layer.layer_scale:
        yield _tensor("scale", 1, role="norm")
    if layer.altup is not None:
        yield from _altup(layer.altup, hidden_size)


def _altup(altup: AltUpSpec, hidden_size: int) -> Iterator[ParameterSpec]:
    streams = altup.num_streams
    yield attrs.evolve(_tensor("altup.prediction.weight", streams**2, streams), skip_quantization=True)
    yield attrs.evolve(_tensor("altup.correction.weight", streams, streams), skip_quantization=True)
    yield attrs.evolve(_tensor("altup.router.weight", streams, hidden_size), skip_quantization=True)
    yield from _norm("altup.norm", altup.norm, hidden_size)
    if altup.correct_scale:
        yield _tensor("altup.scale", hidden_size, role="bias")
    yield from _linear("laurel.left", altup.laurel_rank, hidden_size)
    yield from _linear("laurel.right", hidden_size, altup.laurel_rank, role="output")
    yield from _norm("laurel.norm", altup.norm, hidden_size)


def _mixer(mixer: MixerSpec, hidden_size: int) -> Iterator[ParameterSpec]:
    match mixer:
        case AttentionSpec():
            yield from _attention(mixer, hidden_size)
        case MLASpec():
            yield from _mla(mixer, hidden_size)
        case GatedDeltaSpec():
            yield from _gated_delta(mixer, hidden_size)


def _attention(attention: AttentionSpec, hidden_size: int) -> Iterator[ParameterSpec]:
    rows, groups, size = attention.qkv_sizes, attention.num_kv_heads, attention.head_dim
    yield ParameterSpec("attn.qkv.weight", (sum(rows), hidden_size), rows, num_groups=groups, head_dim=size)
    if attention.qkv_bias:
        yield ParameterSpec("attn.qkv.bias", (sum(rows),), rows, "bias", num_groups=groups, head_dim=size)
    if attention.output_gate:
        for parameter in _linear("attn.gate", rows[0], hidden_size, bias=attention.qkv_bias):
            yield attrs.evolve(parameter, head_dim=size)
    if attention.qk_norm:
        yield from _qk_norm("attn.norm_q", attention.qk_norm, attention.num_heads, attention.head_dim)
        if attention.kv_shared_layer is None:
            yield from _qk_norm("attn.norm_k", attention.qk_norm, attention.num_kv_heads, attention.head_dim)
    yield from _norm("attn.norm_v", attention.value_norm, attention.head_dim)
    if attention.attention_sinks:
        yield _tensor("attn.sinks", attention.num_heads, role="bias")
    yield from _linear("attn.proj", hidden_size, rows[0], bias=attention.output_bias, role="output")


def _qk_norm(name: str, qk_norm: QkNormSpec, num_heads: int, size: int) -> Iterator[ParameterSpec]:
    match qk_norm.scope:
        case "head":
            yield from _norm(name, qk_norm.norm, size)
        case "all":
            yield from _norm(name, qk_norm.norm, num_heads * size)
        case "heads":
            for parameter in _norm(name, qk_norm.norm, num_heads * size):
                yield attrs.evolve(parameter, split_sizes=(size,) * num_heads)


def _mla(mixer: MLASpec, hidden_size: int) -> Iterator[ParameterSpec]:
    queries = mixer.num_heads * mixer.head_dim
    if mixer.q_lora_rank is None:
        yield from _linear("attn.q_proj", queries, hidden_size)
    else:
        yield from _linear("attn.q_a_proj", mixer.q_lora_rank, hidden_size, bias=mixer.bias)
        yield from _norm("attn.q_a_norm", mixer.norm, mixer.q_lora_rank)
        yield from _linear("attn.q_b_proj", queries, mixer.q_lora_rank)
    yield from _linear("attn.kv_a_proj_with_mqa", mixer.cache_spec.k_head_dim, hidden_size, bias=mixer.bias)
    yield from _norm("attn.kv_a_norm", mixer.norm, mixer.kv_lora_rank)
    made = mixer.num_heads * (mixer.qk_nope_head_dim + mixer.v_head_dim)
    for parameter in _linear("attn.kv_b_proj", made, mixer.kv_lora_rank):
        yield attrs.evolve(parameter, skip_quantization=True)  # MLA absorbs parts of it into the queries
    yield from _linear(
        "attn.proj", hidden_size, mixer.num_heads * mixer.v_head_dim, bias=mixer.bias, role="output"
    )


def _gated_delta(mixer: GatedDeltaSpec, hidden_size: int) -> Iterator[ParameterSpec]:
    rows, groups, heads = mixer.split_sizes, mixer.num_kv_heads, mixer.num_heads
    yield ParameterSpec("attn.qkvz.weight", (sum(rows), hidden_size), rows, num_groups=groups)
    yield ParameterSpec(
        "attn.ba.weight", (2 * heads, hidden_size), (heads, heads), num_groups=groups, skip_quantization=True
    )
    yield _tensor("attn.conv.weight", mixer.conv_dim, 1, mixer.conv_kernel_size)
    yield _tensor("attn.dt_bias", heads, role="bias")
    yield _tensor("attn.A_log", heads, role="bias")
    yield from _norm("attn.norm", mixer.norm, mixer.v_head_dim)
    yield from _linear("attn.out_proj", hidden_size, rows[2], role="output")


def _mlp(name: str, mlp: AnyMLPSpec, hidden_size: int) -> Iterator[ParameterSpec]:
    match mlp:
        case MLPSpec(intermediate_size=size, bias=bias, activation=activation):
            yield from _linear(f"{name}.fc", size, hidden_size, bias=bias)
            if activation == "xielu":
                yield from _xielu(f"{name}.activation")
            yield from _linear(f"{name}.proj", hidden_size, size, bias=bias, role="output")
        case GatedMLPSpec(intermediate_size=size, bias=bias):
            yield from _linear(f"{name}.fc_1", size, hidden_size, bias=bias)
            yield from _linear(f"{name}.fc_2", size, hidden_size, bias=bias)
            yield from _linear(f"{name}.proj", hidden_size, size, bias=bias, role="output")
        case MoESpec() as experts:
            yield from _moe(name, experts, hidden_size)
        case DenseAndMoESpec(dense=dense, moe=sparse, norm=norm):
            for kind, part in (("dense", dense), ("sparse", sparse)):
                yield from _norm(f"{name}.norm_{kind}", norm, hidden_size)
                yield from _mlp(f"{name}.{kind}", part, hidden_size)
                yield from _norm(f"{name}.post_norm_{kind}", norm, hidden_size)


def _xielu(name: str) -> Iterator[ParameterSpec]:
    for leaf, role, initial in XIELU_PARAMETERS:
        yield attrs.evolve(_tensor(f"{name}.{leaf}", 1, role=role), init_value=initial)


def _moe(name: str, moe: MoESpec, hidden_size: int) -> Iterator[ParameterSpec]:
    for parameter in _linear(f"{name}.gate", moe.num_experts, hidden_size, bias=moe.router.bias):
        yield attrs.evolve(parameter, skip_quantization=True)
    yield from _norm(f"{name}.gate.norm", moe.router.norm, hidden_size)
    if moe.router.expert_scale:
        yield _tensor(f"{name}.gate.expert_scale", moe.num_experts, role="norm")
    if moe.router.score_correction_bias:
        yield _tensor(f"{name}.gate.e_score_correction_bias", moe.num_experts, role="buffer")
    for number in range(moe.num_experts):
        for parameter in _mlp(f"{name}.experts.{number}", moe.expert, hidden_size):
            yield attrs.evolve(parameter, num_experts=moe.num_experts)
    if moe.shared_expert is not None:
        yield from _mlp(f"{name}.shared_experts", moe.shared_expert, hidden_size)
    if moe.shared_expert_gate:
        yield attrs.evolve(_tensor(f"{name}.shared_gate.weight", 1, hidden_size), skip_quantization=True)


def _linear(
    name: str, out_features: int, in_features: int, *, bias: bool = False, role: ParameterRole = "projection"
) -> Iterator[ParameterSpec]:
    yield _tensor(f"{name}.weight", out_features, in_features, role=role)
    if bias:
        yield _tensor(f"{name}.bias", out_features, role="bias")


def _norm(name: str, norm: NormSpec | None, size: int) -> Iterator[ParameterSpec]:
    if norm is not None and norm.weight:
        yield _tensor(f"{name}.weight", size, role="norm_from_1" if norm.unit_offset else "norm")
    if norm is not None and norm.bias:
        yield _tensor(f"{name}.bias", size, role="bias")


def _tensor(name: str, *shape: int, role: ParameterRole = "projection") -> ParameterSpec:
    return ParameterSpec(name, shape, shape[:1], role)
