"""What happens while someone waits: values that the entry point turns into lines and bars."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs


@attrs.frozen
class Notice:
    """A sentence that the user should read, such as "Using 1 device(s): cpu, bfloat16"."""

    text: str


@attrs.frozen
class Progress:
    """How far a piece of work is, and what there is to say of it; the last one has `done == total`."""

    what: str
    done: int
    total: int
    unit: Literal["B", "tensors", "examples", "steps", "iterations"] = "tensors"
    note: str = ""


Report: TypeAlias = Callable[[Notice | Progress], None]


def silent(_: Notice | Progress) -> None:
    """Report nothing."""
