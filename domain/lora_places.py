"""Modules and parameters that LoRA can adapt: transformers' names and the corresponding rows in LitGPT."""

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
"""Kind of a place.

`linear` is a linear layer included in `all-linear`; a `head` or `embedding` is targeted only by name. A
`parameter` belongs to a router or to all experts of a layer and is targeted by `target_parameters`. An
`expert` is a linear layer of one expert, as in transformers 4, whose saved adapters can be loaded.
"""

_WEIGHT = ".weight"
_HEAD = "lm_head"
_MOST_SUGGESTIONS = 3
# LitGPT's layers that compute queries and values, or their latents.
_QUERIES = ("attn.qkv", "attn.qkvz", "attn.q_proj", "attn.q_b_proj")
_VALUES = ("attn.qkv", "attn.kv_b_proj")
_EXPECTED = (
    "a linear layer, an embedding or the LM head; use target_parameters for experts and routers. There are"
)


@attrs.frozen
class Rows:
    """The rows of a fused layer that correspond to one Hugging Face tensor.

    Attributes:
        layer: LitGPT's layer, such as `transformer.h.0.attn.qkv`.
        start: First row.
        stop: End of the rows (exclusive).
        pieces: Views of B (out, rank), in the order of LitGPT's rows.

    """

    layer: str
    start: int
    stop: int
    pieces: tuple[Piece, ...]

    def of_rank(self, rank: int) -> tuple[Piece, ...]:
        """Return the views for a B of this rank."""
        return tuple(attrs.evolve(piece, shape=(piece.shape[0], rank)) for piece in self.pieces)


@attrs.frozen
class Place:
    """A module or parameter of transformers that LoRA can adapt; one expert of a stacked parameter.

    Attributes:
        name: Name in transformers: `model.layers.0.self_attn.q_proj`,
            `model.layers.0.mlp.experts.down_proj`.
        outputs: Output features.
        inputs: Input features.
        transposed: Whether the weight is stored as (in, out).
        rows: The corresponding rows in LitGPT.
        kind: Kind of the place.
        swapped: Whether PEFT's A and B are the transposes of LitGPT's B and A, as for embeddings.
        expert: Index of the expert.
        experts: Number of experts that share one pair of LoRA matrices in PEFT.
        parameter: Name of the parameter for `target_parameters`.
        former: Name of the module in transformers 4, if it differs.

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
        return self.name.rpartition(".")[2]

    def is_called(self, target: str) -> bool:
        """Return whether a target matches the name or a dotted suffix of it."""
        return is_called(self.parameter or self.name, target)

    def shapes(self, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of PEFT's A and B."""
        inputs, outputs = (self.outputs, self.inputs) if self.swapped else (self.inputs, self.outputs)
        return (rank * self.experts, inputs), (outputs, rank * self.experts)

    @property
    def magnitudes(self) -> int:
        """Number of DoRA norms: one per row, or per column of an embedding."""
        return self.inputs if self.kind == "embedding" else self.outputs


def is_called(name: str, target: str) -> bool:
    """Return whether a target equals a name or a dotted suffix of it."""
    return name == target or name.endswith(f".{target}")


def places(
    joins: Sequence[Join], linear: Collection[str], embeddings: Collection[str] = ()
) -> tuple[Place, ...]:
    """Return the adaptable modules, without parameters of experts and routers.

    Args:
        joins: The model's parameters and their checkpoint pieces.
        linear: Names of the linear layers.
        embeddings: Names of the embeddings.

    """
    modules = []
    for name, those in uses(joins).items():
        piece = those[0].piece
        layers = {use.parameter.name.removesuffix(_WEIGHT) for use in those}
        fits = name.endswith(_WEIGHT) and len(piece.shape) == 2 and piece.expert is None
        if fits and layers <= {*linear, *embeddings}:
            outputs, inputs = piece.shape[::-1] if piece.transposed else piece.shape
            kind = _kind(layers, embeddings)
            modules.append(
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
    return tuple(modules)


def chosen(those: Sequence[Place], targets: Targets) -> tuple[Place, ...]:
    """Return the modules that match the targets.

    Raises:
        BadArgument: A target does not match a module; the error lists the modules.

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
    """Return the parameters of experts and routers that match the targets.

    Raises:
        BadArgument: A target does not match a parameter; the error lists the parameters.

    """
    parameters = [place for place in those if place.parameter is not None]
    for target in targets:
        if not any(place.is_called(target) for place in parameters):
            available = ", ".join(dict.fromkeys(map(_parameter_leaf, parameters))) or "none in this model"
            raise BadArgument(
                "target_parameters", target, f"a parameter of experts or a router. There are {available}"
            )
    return tuple(place for place in parameters if any(place.is_called(target) for target in targets))


def all_chosen(those: Sequence[Place], lora: Lora) -> tuple[Place, ...]:
    """Return the modules and parameters that a configuration adapts, without fully trained modules.

    Raises:
        BadArgument: A target does not match.

    """
    parameters = chosen_parameters(those, lora.target_parameters)
    if lora.targets is None and parameters:
        return parameters
    modules = chosen(those, lora.targets)
    return (*(place for place in modules if not is_within(place.name, lora.modules_to_save)), *parameters)


def is_within(module: str, names: Iterable[str]) -> bool:
    """Return whether a module is in one of these; as in PEFT, any suffix of a name matches."""
    parts = module.split(".")
    paths = [".".join(parts[: at + 1]) for at in range(len(parts))]
    return any(path.endswith(name) for name in names for path in paths)


def targets_of(those: Iterable[Place], every: Iterable[Place]) -> tuple[str, ...]:
    """Return targets that match exactly these places: last name parts where unambiguous, else full names."""
    names = dict.fromkeys(place.name for place in those)
    ambiguous = {place.leaf for place in every if place.name not in names and place.kind != "expert"}
    leaves = {name: name.rpartition(".")[2] for name in names}
    ambiguous |= {leaf for leaf in leaves.values() if leaf.isdigit()}  # an index would match whole layers
    return tuple(dict.fromkeys(name if leaf in ambiguous else leaf for name, leaf in leaves.items()))


def rows_of(those: Sequence[Use]) -> tuple[Rows, ...]:
    """Return the rows in LitGPT's layers of a checkpoint tensor."""
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
    """Return a piece as rows of an untransposed, unstacked (out, in) tensor."""
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
    """Return all module names, similar ones first."""
    leaves = list(dict.fromkeys(place.leaf for place in those))
    close = get_close_matches(target.rpartition(".")[2], leaves, n=_MOST_SUGGESTIONS)
    return list(dict.fromkeys([*close, *leaves]))
