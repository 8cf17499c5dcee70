"""Where LoRA can be: tensors of theirs, and the rows of ours that they are."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches
from itertools import groupby
from typing import TypeVar

import attrs

from litgpt.domain.errors import BadArgument
from litgpt.domain.lora import ALL, Adapter, Pair, Targets, misfit
from litgpt.domain.pieces import Piece
from litgpt.domain.weights import Join, Use, uses

TensorT = TypeVar("TensorT")

_WEIGHT = ".weight"
_MOST_SUGGESTIONS = 3
# Ours that make queries and values, or what those are made of.
_QUERIES = ("attn.qkv", "attn.qkvz", "attn.q_proj", "attn.q_b_proj")
_VALUES = ("attn.qkv", "attn.kv_b_proj")
_NOT_YET = (
    "a linear layer: what experts, routers, embeddings and the head learn cannot be added to them. There are"
)


@attrs.frozen
class Rows:
    """What of a layer of ours is what of a tensor of theirs.

    Attributes:
        layer: Ours, such as `transformer.h.0.attn.qkv`.
        start: The first row in it.
        stop: The row after the last.
        pieces: Theirs, in the order of our rows, as views of B (out, rank).

    """

    layer: str
    start: int
    stop: int
    pieces: tuple[Piece, ...]

    def of_rank(self, rank: int) -> tuple[Piece, ...]:
        """Return the views of a B of this rank."""
        return tuple(attrs.evolve(piece, shape=(piece.shape[0], rank)) for piece in self.pieces)


@attrs.frozen
class Place:
    """A tensor of theirs that a pair can be for.

    Attributes:
        name: Its layer in transformers: `model.layers.0.self_attn.q_proj`.
        outputs: What that returns.
        inputs: What that takes.
        transposed: Whether its weight is written as (in, out).
        rows: Where it is in ours.

    """

    name: str
    outputs: int
    inputs: int
    transposed: bool
    rows: tuple[Rows, ...]

    @property
    def leaf(self) -> str:
        """The last part of its name."""
        return self.name.rpartition(".")[2]

    def is_called(self, target: str) -> bool:
        """Whether a target means it: its name, or an end of that from a dot on."""
        return self.name == target or self.name.endswith(f".{target}")


def places(joins: Sequence[Join], linear: Collection[str]) -> tuple[Place, ...]:
    """Return where pairs can be.

    Args:
        joins: How a family writes its tensors.
        linear: The linear layers of the network.

    """
    found = []
    for name, those in uses(joins).items():
        piece = those[0].piece
        layers = {use.parameter.name.removesuffix(_WEIGHT) for use in those}
        fits = name.endswith(_WEIGHT) and len(piece.shape) == 2 and piece.expert is None
        if fits and layers <= set(linear) and not any(_is_refused(one) for one in layers):
            outputs, inputs = piece.shape[::-1] if piece.transposed else piece.shape
            rows = tuple(_rows(layer, list(own)) for layer, own in groupby(those, _layer))
            found.append(Place(name.removesuffix(_WEIGHT), outputs, inputs, piece.transposed, rows))
    return tuple(found)


def chosen(those: Sequence[Place], targets: Targets) -> tuple[Place, ...]:
    """Return the places that are meant.

    Raises:
        BadArgument: A target is none; the error lists those that there are.

    """
    if targets == ALL:
        return tuple(those)
    if targets is None:
        return tuple(_for_queries_and_values(those))
    for target in targets:
        if not any(place.is_called(target) for place in those):
            raise BadArgument("targets", target, f"{_NOT_YET} {', '.join(_like(target, those))}")
    return tuple(place for place in those if any(place.is_called(target) for target in targets))


def named(those: Sequence[Place], name: str) -> Place | None:
    """Return the place that another's adapter calls so; models of text and more have a level more."""
    plain = ".".join(part for part in name.split(".") if part != "language_model")
    return next((place for place in those if place.name in (name, plain)), None)


def fitting(
    name: str, those: Sequence[Place], adapter: Adapter[TensorT], shape: Callable[[TensorT], tuple[int, ...]]
) -> list[tuple[Place, Pair[TensorT]]]:
    """Return each pair of an adapter that was saved, and its place.

    Args:
        name: What to call the adapter in an error.
        those: Where a pair can be.
        adapter: The adapter.
        shape: Returns a tensor's.

    Raises:
        BadCheckpoint: It is for another model; the error lists all that does not fit.

    """
    found, unknown, misshapen = [], [], []
    for module, pair in adapter.pairs.items():
        place = named(those, module)
        if place is None:
            unknown.append(module)
            continue
        shapes, expected = (
            (shape(pair.a), shape(pair.b)),
            ((pair.rank, place.inputs), (place.outputs, pair.rank)),
        )
        if shapes != expected:
            was, wanted = (" and ".join(str(list(one)) for one in both) for both in (shapes, expected))
            misshapen.append(f"{module} is {was}, expected {wanted}")
        found.append((place, pair))
    if unknown or misshapen:
        raise misfit(name, unknown, misshapen)
    return found


def targets_of(those: Iterable[Place], every: Iterable[Place]) -> tuple[str, ...]:
    """Return targets that mean these places of all and no others: the last parts of names where that does."""
    meant = dict.fromkeys(those)
    apart = {place.leaf for place in every if place not in meant}
    apart |= {place.leaf for place in meant if place.leaf.isdigit()}  # these would mean whole layers too
    return tuple(dict.fromkeys(place.name if place.leaf in apart else place.leaf for place in meant))


def _layer(use: Use) -> str:
    return use.parameter.name.removesuffix(_WEIGHT)


def _rows(layer: str, those: list[Use]) -> Rows:
    pieces = tuple(_upright(use.piece) for use in those)
    stop = those[-1].start + those[-1].piece.rows
    assert stop - those[0].start == sum(piece.rows for piece in pieces)  # noqa: S101 - pieces lie end to end
    return Rows(layer, those[0].start, stop, pieces)


def _upright(piece: Piece) -> Piece:
    """Return the rows of an (out, in) tensor that are a piece of one that may lie on its side."""
    shape = piece.shape[::-1] if piece.transposed else piece.shape
    return attrs.evolve(piece, shape=shape, transposed=False)


def _is_refused(layer: str) -> bool:
    return layer == "lm_head" or ".experts." in layer


def _for_queries_and_values(those: Sequence[Place]) -> Iterator[Place]:
    for place in those:
        first, last = place.rows[0], place.rows[-1]
        queries = first.layer.endswith(_QUERIES) and first.start == 0
        if queries or (last.layer.endswith(_VALUES) and _is_last(last, those)):
            yield place


def _is_last(rows: Rows, those: Sequence[Place]) -> bool:
    ends = (own.stop for place in those for own in place.rows if own.layer == rows.layer)
    return rows.stop == max(ends)


def _like(target: str, those: Sequence[Place]) -> list[str]:
    """Return the names that a target may have meant: the close ones first, then all, without repeating."""
    leaves = list(dict.fromkeys(place.leaf for place in those))
    close = get_close_matches(target.rpartition(".")[2], leaves, n=_MOST_SUGGESTIONS)
    return list(dict.fromkeys([*close, *leaves]))
