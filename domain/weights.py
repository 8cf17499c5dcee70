"""Which tensors a model has, and which tensors of a checkpoint they are made of."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import attrs

from litgpt.domain.architecture import Architecture, Attention, GatedFeedForward, Layer
from litgpt.domain.errors import CheckpointMismatch
from litgpt.domain.tensors import TensorInfo


@attrs.frozen
class Parameter:
    """A tensor of ours.

    Attributes:
        name: LitGPT's name for it, such as `transformer.h.0.attn.qkv.weight`.
        shape: Its shape.
        rows: The rows of the pieces it is joined from, such as those of Q, K and V; they sum to `shape[0]`.

    """

    name: str
    shape: tuple[int, ...]
    rows: tuple[int, ...]


@attrs.frozen
class Rule:
    """One tensor of ours is these of theirs, end to end along the first dimension.

    `{}` stands for a layer's number, on both sides. The inverse splits ours into theirs.

    Attributes:
        ours: LitGPT's name.
        theirs: The names in a Hugging Face checkpoint.

    """

    ours: str
    theirs: tuple[str, ...]


@attrs.frozen
class Join:
    """A parameter of ours and the names of the tensors it is read from, in order."""

    parameter: Parameter
    theirs: tuple[str, ...]


def parameters(architecture: Architecture) -> Iterator[Parameter]:
    """Yield every tensor that a network of this architecture holds, once, in its order."""
    width, vocab = architecture.width, architecture.vocab_size
    yield _whole("transformer.wte.weight", vocab, width)
    for number, layer in enumerate(architecture.layers):
        for parameter in _layer(layer, width):
            yield attrs.evolve(parameter, name=f"transformer.h.{number}.{parameter.name}")
    yield _whole("transformer.ln_f.weight", width)
    if not architecture.tied:
        yield _whole("lm_head.weight", vocab, width)


def plan(
    name: str,
    architecture: Architecture,
    rules: Sequence[Rule],
    tensors: Mapping[str, TensorInfo],
    *,
    unused: Sequence[str] = (),
) -> tuple[Join, ...]:
    """Return which tensors each parameter is read from, having checked all names and shapes.

    Args:
        name: What to call the checkpoint in an error.
        architecture: What is to be built.
        rules: How the family writes its tensors.
        tensors: What the checkpoint holds.
        unused: Patterns of names that a checkpoint may hold besides, such as `*.rotary_emb.inv_freq`.

    Raises:
        CheckpointMismatch: Tensors are missing, left over or of a wrong shape; it lists all of them.

    """
    by_ours = {rule.ours: rule for rule in rules}
    joins: list[Join] = []
    missing: list[str] = []
    misshapen: list[str] = []
    read: set[str] = set()
    for parameter in parameters(architecture):
        layer, generic = _layer_of(parameter.name)
        theirs = tuple(one.replace("{}", layer) for one in by_ours[generic].theirs)
        read.update(theirs)
        joins.append(Join(parameter, theirs))
        for their_name, rows in zip(theirs, parameter.rows, strict=True):
            expected = (rows, *parameter.shape[1:])
            if (found := tensors.get(their_name)) is None:
                missing.append(their_name)
            elif found.shape != expected:
                misshapen.append(f"{their_name} is {list(found.shape)}, expected {list(expected)}")
    ignored = (*unused, "lm_head.weight") if architecture.tied else unused
    unread = [
        one
        for one in tensors
        if one not in read and not any(fnmatchcase(one, pattern) for pattern in ignored)
    ]
    if missing or unread or misshapen:
        raise CheckpointMismatch(name, tuple(missing), tuple(unread), tuple(misshapen))
    return tuple(joins)


def _layer_of(name: str) -> tuple[str, str]:
    """Split `transformer.h.3.norm_1.weight` into `3` and `transformer.h.{}.norm_1.weight`."""
    parts = name.split(".")
    if parts[:2] != ["transformer", "h"]:
        return "", name
    return parts[2], ".".join((*parts[:2], "{}", *parts[3:]))


def _layer(layer: Layer, width: int) -> Iterator[Parameter]:
    yield _whole("norm_1.weight", width)
    yield from _attention(layer.attention, width)
    if layer.norm_after:
        yield _whole("post_attention_norm.weight", width)
    yield _whole("norm_2.weight", width)
    yield from _feed_forward(layer.feed_forward, width)
    if layer.norm_after:
        yield _whole("post_mlp_norm.weight", width)


def _attention(attention: Attention, width: int) -> Iterator[Parameter]:
    rows = attention.qkv_rows
    yield Parameter("attn.qkv.weight", (sum(rows), width), rows)
    if attention.qkv_bias:
        yield Parameter("attn.qkv.bias", (sum(rows),), rows)
    if attention.qk_norm:
        yield _whole("attn.norm_q.weight", attention.head_size)
        yield _whole("attn.norm_k.weight", attention.head_size)
    yield _whole("attn.proj.weight", width, rows[0])
    if attention.output_bias:
        yield _whole("attn.proj.bias", width)


def _feed_forward(feed_forward: GatedFeedForward, width: int) -> Iterator[Parameter]:
    for name in ("mlp.fc_1", "mlp.fc_2"):
        yield _whole(f"{name}.weight", feed_forward.size, width)
        if feed_forward.bias:
            yield _whole(f"{name}.bias", feed_forward.size)
    yield _whole("mlp.proj.weight", width, feed_forward.size)
    if feed_forward.bias:
        yield _whole("mlp.proj.bias", width)


def _whole(name: str, *shape: int) -> Parameter:
    return Parameter(name, shape, shape[:1])
