"""Map checkpoint tensors to LitGPT's parameters, for reading and writing."""

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
    """One of several equal parts of the rows of a checkpoint tensor.

    Attributes:
        name: Name of the checkpoint tensor.
        number: Index of the part.
        of: Number of parts.
        alternating: Whether the parts are interleaved row by row instead of concatenated.
        by_head: Whether the parts are interleaved head by head.

    """

    name: str
    number: int
    of: int
    alternating: bool = False
    by_head: bool = False


@attrs.frozen
class Rule:
    """How a parameter is assembled from checkpoint tensors; applied in reverse, it writes a checkpoint.

    In names, `{}` is the index of a layer or expert on both sides, and `{piece}` the index of a piece.

    Attributes:
        ours: LitGPT's parameter name.
        theirs: Names in a Hugging Face checkpoint: one per piece, concatenated along the first dimension, or
            one for the whole parameter.
        spans: Number of pieces that each checkpoint tensor holds; empty means one each, or all in one.
        by_group: Whether the pieces are interleaved by key-value group in one checkpoint tensor, as queries,
            keys and values are in GPT-NeoX and Falcon.
        transposed: Whether the checkpoint tensor is transposed.
        stacked: Whether the checkpoint tensor stacks all experts along an additional first dimension.
        matrix: Whether the checkpoint tensor is a matrix whose rows are the pieces of a vector.
        number: Whether the checkpoint tensor is a scalar, which is stored as a vector of one element.
        where: Predicate of the architectures to which the rule applies; None applies it to all.

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
    """A parameter and the checkpoint pieces that are concatenated to it along the first dimension."""

    parameter: Parameter
    pieces: tuple[Piece, ...]

    __repr__ = brief_repr

    @property
    def theirs(self) -> tuple[str, ...]:
        """Names of the checkpoint tensors."""
        return tuple(piece.name for piece in self.pieces)


def joins(architecture: Architecture, rules: Sequence[Rule]) -> Iterator[Join]:
    """Yield the checkpoint pieces of each parameter according to the family's rules."""
    by_ours: dict[str, Rule] = {}
    for rule in rules:
        if rule.where is None or rule.where(architecture):
            by_ours.setdefault(rule.ours, rule)
    for parameter in parameters(architecture):
        generic, numbers = _generic(parameter.name)
        yield Join(parameter, tuple(_pieces(by_ours[generic], parameter, numbers)))


_MOST_MISSING = 5000
"""Number of missing tensors at which checking stops."""


def plan(
    name: str,
    architecture: Architecture,
    rules: Sequence[Rule],
    tensors: Mapping[str, TensorInfo],
    *,
    unused: Sequence[str] = (),
) -> tuple[Join, ...]:
    """Return the checkpoint pieces of each parameter after checking all names and shapes.

    Args:
        name: Name of the checkpoint in error messages.
        architecture: The model's structure.
        rules: The family's mapping rules.
        tensors: The checkpoint's tensors by name.
        unused: Patterns of tensor names to ignore, such as `*.rotary_emb.inv_freq`.

    Raises:
        CheckpointMismatch: Tensors are missing, unexpected or of the wrong shape. The error lists all of
            them, or the first 5,000 missing ones.

    """
    planned: list[Join] = []
    expected: dict[str, tuple[int, ...]] = {}
    absent: dict[str, None] = {}
    for join in joins(architecture, rules):
        planned.append(join)
        expected |= {piece.name: piece.shape for piece in join.pieces}
        absent |= {piece.name: None for piece in join.pieces if piece.name not in tensors}
        if len(absent) > _MOST_MISSING:  # the config is wrong and may imply millions of tensors
            raise CheckpointMismatch(name, tuple(absent))
    missing = tuple(absent)
    misshapen = tuple(
        f"{tensor} is {list(tensors[tensor].shape)}, expected {list(shape)}"
        for tensor, shape in expected.items()
        if tensor in tensors and tensors[tensor].shape != shape
    )
    unread = tuple(
        tensor
        for tensor in tensors
        if tensor not in expected and not any(fnmatchcase(tensor, pattern) for pattern in unused)
    )
    if missing or unread or misshapen:
        raise CheckpointMismatch(name, missing, unread, misshapen)
    return tuple(planned)


@attrs.frozen
class Use:
    """The rows of a parameter, from `start`, that correspond to a piece of a checkpoint tensor."""

    parameter: Parameter
    start: int
    piece: Piece


def uses(planned: Sequence[Join]) -> dict[str, tuple[Use, ...]]:
    """Return the inverse mapping: the parameter rows that each checkpoint tensor consists of."""
    by_tensor: dict[str, list[Use]] = {}
    for join in planned:
        row = 0
        for piece in join.pieces:
            by_tensor.setdefault(piece.name, []).append(Use(join.parameter, row, piece))
            row += piece.rows
    return {name: tuple(rows) for name, rows in by_tensor.items()}


def _generic(name: str) -> tuple[str, tuple[str, ...]]:
    """Split `transformer.h.3.norm_1.weight` into `transformer.h.{}.norm_1.weight` and its indices."""
    parts = name.split(".")
    numbers = tuple(part for part in parts if part.isdigit())
    return ".".join("{}" if part.isdigit() else part for part in parts), numbers


def _filled(name: str, numbers: Sequence[str]) -> str:
    left = iter(numbers)
    return re.sub(r"\{\}", lambda _: next(left), name)


def _pieces(rule: Rule, parameter: Parameter, numbers: tuple[str, ...]) -> Iterator[Piece]:
    """Yield the checkpoint pieces of a parameter."""
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
    for source, count in zip(theirs, rows, strict=True):
        if count:  # layers with K=V or a shared KV cache have no such tensor
            yield _piece(rule, parameter, source, count, numbers)


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
