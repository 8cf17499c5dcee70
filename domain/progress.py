"""Notices and progress, which entry points display as lines and progress bars."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.formatting.redaction import redact


@attrs.frozen
class Notice:
    """A sentence for the user, such as "Using 1 device(s): cpu, bfloat16"."""

    text: str = attrs.field(converter=redact)

    __repr__ = brief_repr


@attrs.frozen
class Progress:
    """The progress of a task; the last report has `completed == total`.

    `completed` can be a fraction of a training step; `note` has figures to show after the bar.
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
