"""What happens while someone waits: values that the entry point turns into lines and bars."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.formatting.redaction import redact


@attrs.frozen
class Notice:
    """A sentence that the user should read, such as "Using 1 device(s): cpu, bfloat16"."""

    text: str = attrs.field(converter=redact)

    __repr__ = brief_repr


@attrs.frozen
class Progress:
    """How far a piece of work is; the last one has `done == total`.

    Attributes:
        description: The piece of work.
        completed: How much of it is done: a fraction, where a training step has several batches.
        total: All of it.
        unit: What is counted.
        note: Figures to show beside it.

    """

    description: str
    completed: float
    total: int
    unit: Literal["B", "tensors", "examples", "batches", "steps", "iterations"] = "tensors"
    note: str = ""

    __repr__ = brief_repr


Reporter: TypeAlias = Callable[[Notice | Progress], None]


def null_reporter(_: Notice | Progress) -> None:
    """Report nothing."""
