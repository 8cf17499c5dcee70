"""LoRA: a few numbers beside each weight, which learn in its place.

A weight W (out, in) stays as it is; what is learnt are A (rank, in) and B (out, rank), and the layer
multiplies by W + scaling x B A. Source: Hu et al. 2021, arXiv:2106.09685; the scaling by the root of the
rank: Kalajdzievski 2023, arXiv:2312.03732.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import attrs

from litgpt.domain.errors import BadArgument, BadCheckpoint, WrongType
from litgpt.domain.sampling import Validator

TensorT = TypeVar("TensorT")

Targets: TypeAlias = tuple[str, ...] | Literal["all-linear"] | None

ALL: Literal["all-linear"] = "all-linear"
"""Every linear layer but the head, as PEFT has it."""

_RANK = "a whole number from 1"
_NAMES = "names of linear layers such as ('q_proj', 'v_proj'), 'all-linear' or None"
_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def _a_rank(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise WrongType(field.name, value, _RANK)
    if value < 1:
        raise BadArgument(field.name, value, _RANK)


def _number(expected: str, *, below: float = math.inf) -> Validator:
    def check(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise WrongType(field.name, value, expected)
        if not 0 <= value < below:
            raise BadArgument(field.name, value, expected)

    return check


def _as_targets(value: object) -> object:
    if isinstance(value, str) and value != ALL:
        return (value,)
    return tuple(value) if isinstance(value, (list, set, frozenset)) else value


def _are_targets(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if value is None or value == ALL:
        return
    if not isinstance(value, tuple) or not all(isinstance(one, str) for one in value):
        raise WrongType(field.name, value, _NAMES)
    if not value or not all(value):
        raise BadArgument(field.name, value, _NAMES)


@attrs.frozen(kw_only=True)
class Lora:
    """What is added to which layers.

    Attributes:
        rank: The rows of A and the columns of B.
        alpha: What is added counts alpha / rank.
        dropout: How many of the inputs of A are left out while it is trained, from 0 to 1.
        targets: The linear layers, by the names that they have in transformers or by ends of these:
            `q_proj`, `self_attn.q_proj`, `layers.3.mlp.down_proj`; or `all-linear`: all but the head. None:
            those that make queries and values.
        rslora: Whether what is added counts alpha / root of rank, for large ranks.

    """

    rank: int = attrs.field(default=8, validator=_a_rank)
    alpha: float = attrs.field(default=16.0, validator=_number("a number, 0 or greater"))
    dropout: float = attrs.field(
        default=0.0, validator=_number("a number from 0 to 1, and less than that", below=1)
    )
    targets: Targets = attrs.field(default=None, converter=_as_targets, validator=_are_targets)
    rslora: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))

    def scaling(self, rank: int | None = None, alpha: float | None = None) -> float:
        """Return what B A is multiplied by, for a layer that may have a rank or an alpha of its own."""
        rank, alpha = rank or self.rank, self.alpha if alpha is None else alpha
        return alpha / (math.sqrt(rank) if self.rslora else rank)


@attrs.frozen
class Pair(Generic[TensorT]):
    """What is added to one tensor.

    Attributes:
        a: (rank, in).
        b: (out, rank).
        rank: Its rank.
        alpha: Its alpha.

    """

    a: TensorT = attrs.field(repr=False)
    b: TensorT = attrs.field(repr=False)
    rank: int
    alpha: float


@attrs.frozen(kw_only=True)
class Adapter(Generic[TensorT]):
    """What was learnt, as it is saved.

    Attributes:
        lora: How.
        pairs: The pairs, by the names of layers in transformers, such as `model.layers.0.self_attn.q_proj`.
        base: The model that it was learnt on, if it says so.
        revision: Which revision of that.
        targets: Names that mean these layers and no others, as short as can be; empty: as it is read.
        transposed: Whether the model writes the weights of these layers on their sides, as GPT-2 does.

    """

    lora: Lora
    pairs: Mapping[str, Pair[TensorT]] = attrs.field(repr=False)
    base: str | None = None
    revision: str | None = None
    targets: tuple[str, ...] = ()
    transposed: bool = False


def adapter_name(name: object) -> str:
    """Return what an adapter is to be called.

    Raises:
        BadArgument: It cannot be called so: its name becomes a part of its tensors'.

    """
    expected = "a name of letters, digits, '-' and '_'"
    if not isinstance(name, str):
        raise WrongType("name", name, expected)
    if not _NAME.fullmatch(name):
        raise BadArgument("name", name, expected)
    return name


def known_adapter(name: str, names: Sequence[str], argument: str = "name") -> None:
    """Check that there is an adapter.

    Raises:
        BadArgument: There is none of this name; the error has those that there are.

    """
    if name not in names:
        there = f"one of the adapters {', '.join(map(repr, names))}" if names else "left alone: there is none"
        raise BadArgument(argument, name, there)


def misfit(name: str, unknown: Sequence[str], misshapen: Sequence[str]) -> BadCheckpoint:
    """Return the error that says all in which an adapter does not fit a model.

    Args:
        name: The adapter.
        unknown: Layers that the model has not, or to which nothing can be added.
        misshapen: What has another shape, and which was expected.

    """
    lists = (("for layers that nothing can be added to", unknown), ("of a wrong shape", misshapen))
    said = "; ".join(f"{len(names)} {what}: {', '.join(names)}" for what, names in lists if names)
    return BadCheckpoint(f"The adapter {name} does not fit the model. {said}.")
