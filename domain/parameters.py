"""The parameters of an architecture: names, shapes and roles."""

import math
from collections.abc import Iterator
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.architecture import (
    AlternatingUpdates,
    AnyFeedForward,
    Architecture,
    Attention,
    Experts,
    FeedForward,
    GatedDelta,
    GatedFeedForward,
    LatentAttention,
    Layer,
    Mixer,
    Norm,
    QkNorm,
    SideBySide,
)

Role: TypeAlias = Literal["projection", "output", "embedding", "bias", "norm", "norm_from_1", "buffer"]
"""Role of a parameter, which determines its initialization.

A `buffer` is in float32 and not trained; an `output` projects back into the residual stream; a
`norm_from_1` multiplies by `1 + weight`.
"""


XIELU: tuple[tuple[str, Role, float], ...] = (
    ("alpha_p", "bias", math.log(math.expm1(0.8))),
    ("alpha_n", "bias", math.log(math.expm1(0.3))),
    ("beta", "buffer", 0.5),
    ("eps", "buffer", -1e-6),
)
"""Parameters of the activation xIELU: name, role and initial value."""


@attrs.frozen
class Parameter:
    """A parameter of the model.

    Attributes:
        name: LitGPT's name, such as `transformer.h.0.attn.qkv.weight`.
        shape: Its shape.
        rows: Rows of each fused piece, such as Q, K and V; they sum to `shape[0]`.
        role: Its role.
        groups: Number of key-value heads of a fused projection, by which checkpoints may interleave pieces.
        experts: Number of experts, for a parameter of an expert.
        initial: Initial value of all elements; None uses the default of the role.
        head_size: Rows per head, by which checkpoints may interleave pieces.
        exact: Whether the parameter is not quantized, as it is small and sensitive.

    """

    name: str
    shape: tuple[int, ...]
    rows: tuple[int, ...]
    role: Role = "projection"
    groups: int = 1
    experts: int = 1
    initial: float | None = None
    head_size: int = 1
    exact: bool = False


def parameters(architecture: Architecture) -> Iterator[Parameter]:
    """Yield every parameter of an architecture once, in model order."""
    width, vocab = architecture.width, architecture.vocab_size
    yield _whole("transformer.wte.weight", vocab, width, role="embedding")
    yield from _norm("transformer.wte_norm", architecture.embedding_norm, width)
    if architecture.learned_positions is not None:
        yield _whole("transformer.wpe.weight", architecture.learned_positions, width, role="embedding")
    if (per_layer := architecture.layer_embeddings) is not None:
        parts = len(architecture.layers) * per_layer.size
        yield _whole("transformer.per_layer.embedding.weight", per_layer.vocab_size, parts, role="embedding")
        yield from _linear("transformer.per_layer.proj", parts, width)
        yield from _norm("transformer.per_layer.norm", per_layer.norm, per_layer.size)
    for number in range(architecture.streams - 1):
        yield from _linear(f"transformer.fork.{number}", width, width)
    for number, layer in enumerate(architecture.layers):
        for parameter in _layer(layer, width):
            yield attrs.evolve(parameter, name=f"transformer.h.{number}.{parameter.name}")
    for number in range(architecture.streams - 1):
        yield from _linear(f"transformer.merge.{number}", width, width)
    yield from _norm("transformer.ln_f", architecture.final_norm, width)
    if not architecture.tied:
        yield attrs.evolve(_whole("lm_head.weight", vocab, width), exact=True)
    if architecture.head_bias:
        yield _whole("lm_head.bias", vocab, role="bias")


def _layer(layer: Layer, width: int) -> Iterator[Parameter]:
    yield from _norm("norm_1", layer.norm_1, width)
    yield from _mixer(layer.mixer, width)
    yield from _norm("post_attention_norm", layer.post_mixer_norm, width)
    yield from _norm("norm_2", layer.norm_2, width)
    yield from _feed_forward("mlp", layer.feed_forward, width)
    yield from _norm("post_mlp_norm", layer.post_mlp_norm, width)
    if layer.input is not None:
        yield from _linear("input.gate", layer.input.size, width)
        yield from _linear("input.proj", width, layer.input.size, role="output")
        yield from _norm("input.norm", layer.input.norm, width)
    if layer.scaled:
        yield _whole("scale", 1, role="norm")
    if layer.updates is not None:
        yield from _updates(layer.updates, width)


def _updates(updates: AlternatingUpdates, width: int) -> Iterator[Parameter]:
    streams = updates.streams
    yield attrs.evolve(_whole("altup.prediction.weight", streams**2, streams), exact=True)
    yield attrs.evolve(_whole("altup.correction.weight", streams, streams), exact=True)
    yield attrs.evolve(_whole("altup.router.weight", streams, width), exact=True)
    yield from _norm("altup.norm", updates.norm, width)
    if updates.scaled:
        yield _whole("altup.scale", width, role="bias")
    yield from _linear("laurel.left", updates.rank, width)
    yield from _linear("laurel.right", width, updates.rank, role="output")
    yield from _norm("laurel.norm", updates.norm, width)


def _mixer(mixer: Mixer, width: int) -> Iterator[Parameter]:
    match mixer:
        case Attention():
            yield from _attention(mixer, width)
        case LatentAttention():
            yield from _latent_attention(mixer, width)
        case GatedDelta():
            yield from _gated_delta(mixer, width)


def _attention(attention: Attention, width: int) -> Iterator[Parameter]:
    rows, groups, size = attention.qkv_rows, attention.groups, attention.head_size
    yield Parameter("attn.qkv.weight", (sum(rows), width), rows, groups=groups, head_size=size)
    if attention.qkv_bias:
        yield Parameter("attn.qkv.bias", (sum(rows),), rows, "bias", groups=groups, head_size=size)
    if attention.gated:
        for parameter in _linear("attn.gate", rows[0], width, bias=attention.qkv_bias):
            yield attrs.evolve(parameter, head_size=size)
    if attention.qk_norm:
        yield from _qk_norm("attn.norm_q", attention.qk_norm, attention.heads, attention.head_size)
        if attention.lender is None:
            yield from _qk_norm("attn.norm_k", attention.qk_norm, attention.groups, attention.head_size)
    yield from _norm("attn.norm_v", attention.value_norm, attention.head_size)
    if attention.sinks:
        yield _whole("attn.sinks", attention.heads, role="bias")
    yield from _linear("attn.proj", width, rows[0], bias=attention.output_bias, role="output")


def _qk_norm(name: str, qk_norm: QkNorm, heads: int, size: int) -> Iterator[Parameter]:
    match qk_norm.over:
        case "head":
            yield from _norm(name, qk_norm.norm, size)
        case "all":
            yield from _norm(name, qk_norm.norm, heads * size)
        case "heads":
            for parameter in _norm(name, qk_norm.norm, heads * size):
                yield attrs.evolve(parameter, rows=(size,) * heads)


def _latent_attention(mixer: LatentAttention, width: int) -> Iterator[Parameter]:
    queries = mixer.heads * mixer.head_size
    if mixer.query_size is None:
        yield from _linear("attn.q_proj", queries, width)
    else:
        yield from _linear("attn.q_a_proj", mixer.query_size, width, bias=mixer.bias)
        yield from _norm("attn.q_a_norm", mixer.norm, mixer.query_size)
        yield from _linear("attn.q_b_proj", queries, mixer.query_size)
    yield from _linear("attn.kv_a_proj_with_mqa", mixer.kept.key, width, bias=mixer.bias)
    yield from _norm("attn.kv_a_norm", mixer.norm, mixer.latent_size)
    made = mixer.heads * (mixer.plain_size + mixer.value_size)
    for parameter in _linear("attn.kv_b_proj", made, mixer.latent_size):
        yield attrs.evolve(parameter, exact=True)  # MLA absorbs parts of it into the queries
    yield from _linear("attn.proj", width, mixer.heads * mixer.value_size, bias=mixer.bias, role="output")


def _gated_delta(mixer: GatedDelta, width: int) -> Iterator[Parameter]:
    rows, groups, heads = mixer.rows, mixer.groups, mixer.heads
    yield Parameter("attn.qkvz.weight", (sum(rows), width), rows, groups=groups)
    yield Parameter("attn.ba.weight", (2 * heads, width), (heads, heads), groups=groups, exact=True)
    yield _whole("attn.conv.weight", mixer.channels, 1, mixer.kernel)
    yield _whole("attn.dt_bias", heads, role="bias")
    yield _whole("attn.A_log", heads, role="bias")
    yield from _norm("attn.norm", mixer.norm, mixer.value_size)
    yield from _linear("attn.out_proj", width, rows[2], role="output")


def _feed_forward(name: str, feed_forward: AnyFeedForward, width: int) -> Iterator[Parameter]:
    match feed_forward:
        case FeedForward(size=size, bias=bias, activation=activation):
            yield from _linear(f"{name}.fc", size, width, bias=bias)
            if activation == "xielu":
                yield from _xielu(f"{name}.activation")
            yield from _linear(f"{name}.proj", width, size, bias=bias, role="output")
        case GatedFeedForward(size=size, bias=bias):
            yield from _linear(f"{name}.fc_1", size, width, bias=bias)
            yield from _linear(f"{name}.fc_2", size, width, bias=bias)
            yield from _linear(f"{name}.proj", width, size, bias=bias, role="output")
        case Experts() as experts:
            yield from _experts(name, experts, width)
        case SideBySide(dense=dense, sparse=sparse, norm=norm):
            for kind, part in (("dense", dense), ("sparse", sparse)):
                yield from _norm(f"{name}.norm_{kind}", norm, width)
                yield from _feed_forward(f"{name}.{kind}", part, width)
                yield from _norm(f"{name}.post_norm_{kind}", norm, width)


def _xielu(name: str) -> Iterator[Parameter]:
    for leaf, role, initial in XIELU:
        yield attrs.evolve(_whole(f"{name}.{leaf}", 1, role=role), initial=initial)


def _experts(name: str, experts: Experts, width: int) -> Iterator[Parameter]:
    for parameter in _linear(f"{name}.gate", experts.count, width, bias=experts.router.bias):
        yield attrs.evolve(parameter, exact=True)
    yield from _norm(f"{name}.gate.norm", experts.router.norm, width)
    if experts.router.expert_scale:
        yield _whole(f"{name}.gate.expert_scale", experts.count, role="norm")
    if experts.router.correction:
        yield _whole(f"{name}.gate.e_score_correction_bias", experts.count, role="buffer")
    for number in range(experts.count):
        for parameter in _feed_forward(f"{name}.experts.{number}", experts.expert, width):
            yield attrs.evolve(parameter, experts=experts.count)
    if experts.shared is not None:
        yield from _feed_forward(f"{name}.shared_experts", experts.shared, width)
    if experts.shared_gate:
        yield attrs.evolve(_whole(f"{name}.shared_gate.weight", 1, width), exact=True)


def _linear(
    name: str, out: int, into: int, *, bias: bool = False, role: Role = "projection"
) -> Iterator[Parameter]:
    yield _whole(f"{name}.weight", out, into, role=role)
    if bias:
        yield _whole(f"{name}.bias", out, role="bias")


def _norm(name: str, norm: Norm | None, size: int) -> Iterator[Parameter]:
    if norm is not None and norm.weight:
        yield _whole(f"{name}.weight", size, role="norm_from_1" if norm.unit_offset else "norm")
    if norm is not None and norm.bias:
        yield _whole(f"{name}.bias", size, role="bias")


def _whole(name: str, *shape: int, role: Role = "projection") -> Parameter:
    return Parameter(name, shape, shape[:1], role)
