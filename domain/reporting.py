"""What happens while someone waits: values that the entry point turns into lines and bars."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.messages import brief_repr
from litgpt.domain.secrets import without_secrets


@attrs.frozen
class Notice:
    """A sentence that the user should read, such as "Using 1 device(s): cpu, bfloat16"."""

    text: str = attrs.field(converter=without_secrets)

    __repr__ = brief_repr


@attrs.frozen
class Progress:
    """How far a piece of work is; the last one has `done == total`.

    Attributes:
        what: The piece of work.
        done: How much of it is done: a fraction, where a training step has several batches.
        total: All of it.
        unit: What is counted.
        note: Figures to show beside it.

    """

    what: str
    done: float
    total: int
    unit: Literal["B", "tensors", "examples", "batches", "steps", "iterations"] = "tensors"
    note: str = ""

    __repr__ = brief_repr


Report: TypeAlias = Callable[[Notice | Progress], None]


def silent(_: Notice | Progress) -> None:
    """Report nothing."""
