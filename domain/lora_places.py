"""Where LoRA can be: modules and parameters of transformers, and the rows of our layers that they are."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches
from itertools import groupby
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.errors import BadArgument
from litgpt.domain.lora import ALL, Lora, Targets
from litgpt.domain.messages import brief_repr
from litgpt.domain.pieces import Piece
from litgpt.domain.weights import Join, Use, uses

Kind: TypeAlias = Literal["linear", "head", "embedding", "parameter", "expert"]
"""What a place is.

`linear` is a linear layer that `all-linear` means; a `head` and an `embedding` are targeted by name alone. A
`parameter` belongs to a router or to all experts of a layer, and is targeted by `target_parameters`. An
`expert` is a linear layer of one expert, as transformers 4 had them: adapters that were saved with it are
read.
"""

_WEIGHT = ".weight"
_HEAD = "lm_head"
_MOST_SUGGESTIONS = 3
# Ours that make queries and values, or what those are made of.
_QUERIES = ("attn.qkv", "attn.qkvz", "attn.q_proj", "attn.q_b_proj")
_VALUES = ("attn.qkv", "attn.kv_b_proj")
_EXPECTED = (
    "a linear layer, an embedding or the head; what experts and routers learn is in target_parameters. "
    "There are"
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
    """A module or a parameter of transformers that a pair can be for; of stacked experts, that of one expert.

    Attributes:
        name: Its name in transformers: `model.layers.0.self_attn.q_proj`,
            `model.layers.0.mlp.experts.down_proj`.
        outputs: What that returns.
        inputs: What that takes.
        transposed: Whether its weight is written as (in, out).
        rows: Where it is in ours.
        kind: What it is.
        swapped: Whether PEFT's A is the transpose of our B and its B that of our A, as for embeddings.
        expert: Which expert's.
        experts: How many experts one pair of PEFT's is for.
        parameter: The name of the parameter, if it is targeted as one.
        former: The name that its module had in transformers 4, if that was another.

    """

    name: str
    outputs: int
    inputs: int
    transposed: bool
    rows: tuple[Rows, ...]
    kind: Kind = "linear"
    swapped: bool = False
    expert: int = 0
    experts: int = 1
    parameter: str | None = None
    former: str | None = None

    __repr__ = brief_repr

    @property
    def leaf(self) -> str:
        """The last part of its name."""
        return self.name.rpartition(".")[2]

    def is_called(self, target: str) -> bool:
        """Whether a target means it: its name, or an end of that from a dot on."""
        return is_called(self.parameter or self.name, target)

    def shapes(self, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of PEFT's A and B."""
        inputs, outputs = (self.outputs, self.inputs) if self.swapped else (self.inputs, self.outputs)
        return (rank * self.experts, inputs), (outputs, rank * self.experts)

    @property
    def magnitudes(self) -> int:
        """How many norms DoRA learns: one for each row, or for each column of an embedding."""
        return self.inputs if self.kind == "embedding" else self.outputs


def is_called(name: str, target: str) -> bool:
    """Whether a target means a name: the name, or an end of it from a dot on."""
    return name == target or name.endswith(f".{target}")


def places(
    joins: Sequence[Join], linear: Collection[str], embeddings: Collection[str] = ()
) -> tuple[Place, ...]:
    """Return where pairs can be, but for parameters of experts and routers.

    Args:
        joins: How a family writes its tensors.
        linear: The linear layers of the network.
        embeddings: Its embeddings.

    """
    found = []
    for name, those in uses(joins).items():
        piece = those[0].piece
        layers = {use.parameter.name.removesuffix(_WEIGHT) for use in those}
        fits = name.endswith(_WEIGHT) and len(piece.shape) == 2 and piece.expert is None
        if fits and layers <= {*linear, *embeddings}:
            outputs, inputs = piece.shape[::-1] if piece.transposed else piece.shape
            kind = _kind(layers, embeddings)
            found.append(
                Place(
                    name.removesuffix(_WEIGHT),
                    outputs,
                    inputs,
                    piece.transposed,
                    rows_of(those),
                    kind,
                    swapped=kind == "embedding",
                )
            )
    return tuple(found)


def chosen(those: Sequence[Place], targets: Targets) -> tuple[Place, ...]:
    """Return the modules that are meant.

    Raises:
        BadArgument: A target is none; the error lists those that there are.

    """
    linear = [place for place in those if place.kind == "linear"]
    if targets == ALL:
        return tuple(linear)
    if targets is None:
        return tuple(_for_queries_and_values(linear))
    modules = [place for place in those if place.kind in ("linear", "head", "embedding")]
    for target in targets:
        if not any(place.is_called(target) for place in modules):
            raise BadArgument("targets", target, f"{_EXPECTED} {', '.join(_like(target, modules))}")
    return tuple(place for place in modules if any(place.is_called(target) for target in targets))


def chosen_parameters(those: Sequence[Place], targets: Sequence[str]) -> tuple[Place, ...]:
    """Return the parameters of experts and routers that are meant.

    Raises:
        BadArgument: A target is none; the error lists those that there are.

    """
    parameters = [place for place in those if place.parameter is not None]
    for target in targets:
        if not any(place.is_called(target) for place in parameters):
            there = ", ".join(dict.fromkeys(map(_parameter_leaf, parameters))) or "none in this model"
            raise BadArgument(
                "target_parameters", target, f"a parameter of experts or a router. There are {there}"
            )
    return tuple(place for place in parameters if any(place.is_called(target) for target in targets))


def all_chosen(those: Sequence[Place], lora: Lora) -> tuple[Place, ...]:
    """Return the modules and the parameters that an adapter is for, without what is trained whole.

    Raises:
        BadArgument: A target is none.

    """
    parameters = chosen_parameters(those, lora.target_parameters)
    if lora.targets is None and parameters:
        return parameters
    modules = chosen(those, lora.targets)
    return (*(one for one in modules if not is_within(one.name, lora.modules_to_save)), *parameters)


def is_within(module: str, names: Iterable[str]) -> bool:
    """Whether a module is one of these or within one; PEFT compares ends of names, not from a dot on."""
    parts = module.split(".")
    paths = [".".join(parts[: at + 1]) for at in range(len(parts))]
    return any(path.endswith(name) for name in names for path in paths)


def targets_of(those: Iterable[Place], every: Iterable[Place]) -> tuple[str, ...]:
    """Return targets that mean these places of all and no others: the last parts of names where that does."""
    meant = dict.fromkeys(place.name for place in those)
    apart = {place.leaf for place in every if place.name not in meant and place.kind != "expert"}
    leaves = {name: name.rpartition(".")[2] for name in meant}
    apart |= {leaf for leaf in leaves.values() if leaf.isdigit()}  # these would mean whole layers too
    return tuple(dict.fromkeys(name if leaf in apart else leaf for name, leaf in leaves.items()))


def rows_of(those: Sequence[Use]) -> tuple[Rows, ...]:
    """Return where the rows of a tensor of theirs are in ours."""
    return tuple(_rows(layer, list(own)) for layer, own in groupby(those, _layer))


def _kind(layers: set[str], embeddings: Collection[str]) -> Kind:
    if layers == {_HEAD}:
        return "head"
    if any(".experts." in layer for layer in layers):
        return "expert"
    return "embedding" if {*layers} <= {*embeddings} else "linear"


def _parameter_leaf(place: Place) -> str:
    return ".".join((place.parameter or place.name).split(".")[-2:])


def _layer(use: Use) -> str:
    return use.parameter.name.removesuffix(_WEIGHT)


def _rows(layer: str, those: list[Use]) -> Rows:
    pieces = tuple(_upright(use.piece) for use in those)
    stop = those[-1].start + those[-1].piece.rows
    assert stop - those[0].start == sum(piece.rows for piece in pieces)  # noqa: S101 - pieces lie end to end
    return Rows(layer, those[0].start, stop, pieces)


def _upright(piece: Piece) -> Piece:
    """Return the rows of an (out, in) tensor that are a piece of one on its side, or of one expert."""
    shape = piece.shape if piece.expert is None else piece.shape[1:]
    shape = shape[::-1] if piece.transposed else shape
    return attrs.evolve(piece, shape=shape, transposed=False, expert=None)


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
