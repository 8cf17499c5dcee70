"""Which tensors of a checkpoint ours are made of, as data that reads and writes."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from math import prod

import attrs

from litgpt.domain.architecture import Architecture
from litgpt.domain.errors import CheckpointMismatch
from litgpt.domain.messages import brief_repr
from litgpt.domain.parameters import Parameter, parameters
from litgpt.domain.pieces import Piece
from litgpt.domain.tensors import TensorInfo


@attrs.frozen
class Part:
    """Some rows of a tensor of theirs.

    Attributes:
        name: Theirs.
        number: Which of the equal parts, from 0.
        of: How many equal parts there are.
        alternating: Whether the parts take turns row by row; otherwise they lie one after another.
        by_head: Whether they take turns head by head.

    """

    name: str
    number: int
    of: int
    alternating: bool = False
    by_head: bool = False


@attrs.frozen
class Rule:
    """How one tensor of ours is made of theirs. Read backwards, it makes theirs of ours.

    In names, `{}` stands for a number, of a layer or of an expert, on both sides; `{piece}` for the number
    of a piece.

    Attributes:
        ours: LitGPT's name.
        theirs: The names in a Hugging Face checkpoint: one for each piece of ours, end to end along the first
            dimension, or one for all of it.
        spans: How many pieces of ours each of theirs is; empty: one each, or all.
        by_group: Whether one tensor of theirs has the pieces dealt out: the first group's share of each,
            then the second's, … (GPT-NeoX and Falcon write queries, keys and values so).
        transposed: Whether theirs has rows and columns exchanged.
        stacked: Whether theirs holds all experts, along a first dimension of its own.
        matrix: Whether theirs has a row for each piece of a vector of ours.
        number: Whether theirs is a number without dimensions, of which ours is a vector.
        where: For which architectures the rule holds; None is all.

    """

    ours: str
    theirs: tuple[str | Part, ...]
    spans: tuple[int, ...] = ()
    by_group: bool = False
    transposed: bool = False
    stacked: bool = False
    matrix: bool = False
    number: bool = False
    where: Callable[[Architecture], bool] | None = None

    __repr__ = brief_repr


@attrs.frozen
class Join:
    """A parameter of ours and what it is read from: pieces, end to end along the first dimension."""

    parameter: Parameter
    pieces: tuple[Piece, ...]

    __repr__ = brief_repr

    @property
    def theirs(self) -> tuple[str, ...]:
        """The names of the tensors that it is read from."""
        return tuple(piece.name for piece in self.pieces)


def joins(architecture: Architecture, rules: Sequence[Rule]) -> Iterator[Join]:
    """Yield what each parameter is made of, by the family's rules alone."""
    by_ours: dict[str, Rule] = {}
    for rule in rules:
        if rule.where is None or rule.where(architecture):
            by_ours.setdefault(rule.ours, rule)
    for parameter in parameters(architecture):
        generic, numbers = _generic(parameter.name)
        yield Join(parameter, tuple(_pieces(by_ours[generic], parameter, numbers)))


_MOST_MISSING = 5000
"""The missing tensors after which no more are looked for."""


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
        CheckpointMismatch: Tensors are missing, left over or of a wrong shape; it lists all of them, or the
            first 5,000 that are missing.

    """
    planned: list[Join] = []
    expected: dict[str, tuple[int, ...]] = {}
    absent: dict[str, None] = {}
    for join in joins(architecture, rules):
        planned.append(join)
        expected |= {piece.name: piece.shape for piece in join.pieces}
        absent |= {piece.name: None for piece in join.pieces if piece.name not in tensors}
        if len(absent) > _MOST_MISSING:  # a config for another model, perhaps one with millions of tensors
            raise CheckpointMismatch(name, tuple(absent))
    missing = tuple(absent)
    misshapen = tuple(
        f"{one} is {list(tensors[one].shape)}, expected {list(shape)}"
        for one, shape in expected.items()
        if one in tensors and tensors[one].shape != shape
    )
    unread = tuple(
        one
        for one in tensors
        if one not in expected and not any(fnmatchcase(one, pattern) for pattern in unused)
    )
    if missing or unread or misshapen:
        raise CheckpointMismatch(name, missing, unread, misshapen)
    return tuple(planned)


@attrs.frozen
class Use:
    """Rows of a parameter of ours, and the view of theirs that they are.

    Attributes:
        parameter: Ours.
        start: The first of its rows.
        piece: The view; it has as many rows.

    """

    parameter: Parameter
    start: int
    piece: Piece


def uses(planned: Sequence[Join]) -> dict[str, tuple[Use, ...]]:
    """Return the rules read backwards: each tensor of theirs, and what of ours is written into it."""
    found: dict[str, list[Use]] = {}
    for join in planned:
        row = 0
        for piece in join.pieces:
            found.setdefault(piece.name, []).append(Use(join.parameter, row, piece))
            row += piece.rows
    return {name: tuple(those) for name, those in found.items()}


def _generic(name: str) -> tuple[str, tuple[str, ...]]:
    """Split `transformer.h.3.norm_1.weight` into `transformer.h.{}.norm_1.weight` and the numbers in it."""
    parts = name.split(".")
    numbers = tuple(part for part in parts if part.isdigit())
    return ".".join("{}" if part.isdigit() else part for part in parts), numbers


def _filled(name: str, numbers: Sequence[str]) -> str:
    left = iter(numbers)
    return re.sub(r"\{\}", lambda _: next(left), name)


def _pieces(rule: Rule, parameter: Parameter, numbers: tuple[str, ...]) -> Iterator[Piece]:
    """Yield the views of theirs that a parameter is made of."""
    theirs = rule.theirs
    shape: tuple[int, ...]
    if len(theirs) == 1 and isinstance(theirs[0], str) and "{piece}" in theirs[0]:
        theirs = tuple(theirs[0].replace("{piece}", str(at)) for at in range(len(parameter.rows)))
    rows = parameter.rows if len(theirs) == len(parameter.rows) else (parameter.shape[0],)
    if rule.spans:
        left = iter(parameter.rows)
        rows = tuple(sum(islice(left, span)) for span in rule.spans)
    if rule.matrix:
        shape = (len(parameter.rows), parameter.rows[0])
        yield Piece(_filled(_name(theirs[0]), numbers), shape, 0, prod(shape), flat=True)
        return
    if rule.number:
        yield Piece(_filled(_name(theirs[0]), numbers), (), 0, 1, flat=True)
        return
    if rule.by_group:
        yield from _dealt_out(rule, parameter, _filled(_name(theirs[0]), numbers))
        return
    for one, count in zip(theirs, rows, strict=True):
        if count:  # otherwise there is no such tensor: values are keys, or a layer borrows both
            yield _piece(rule, parameter, one, count, numbers)


def _piece(rule: Rule, parameter: Parameter, one: str | Part, count: int, numbers: tuple[str, ...]) -> Piece:
    part = one if isinstance(one, Part) else Part(one, 0, 1)
    shape: tuple[int, ...] = (count * part.of, *parameter.shape[1:])
    if part.alternating or part.by_head:
        turn = parameter.head_size if part.by_head else 1
        start, stop, runs = part.number * turn, (part.number + 1) * turn, count // turn
    else:
        start, stop, runs = part.number * count, (part.number + 1) * count, 1
    if rule.transposed:
        shape = shape[::-1]
    if rule.stacked:
        shape = (parameter.experts, *shape)
    return Piece(
        _filled(part.name, numbers),
        shape,
        start,
        stop,
        runs,
        expert=int(numbers[-1]) if rule.stacked else None,
        transposed=rule.transposed and len(parameter.shape) > 1,
    )


def _dealt_out(rule: Rule, parameter: Parameter, name: str) -> Iterator[Piece]:
    reached = 0
    shape = parameter.shape[::-1] if rule.transposed else parameter.shape
    for rows in parameter.rows:
        share = rows // parameter.groups
        yield Piece(name, shape, reached, reached + share, parameter.groups, transposed=rule.transposed)
        reached += share


def _name(theirs: str | Part) -> str:
    return theirs.name if isinstance(theirs, Part) else theirs
