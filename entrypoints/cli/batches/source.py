"""The lines of a batch, from a file or stdin."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from litgpt.application.batch.lines import BatchLine
    from litgpt.application.batch.shard import Shard
    from litgpt.cli.batches.signals import DrainOnSignal


def open_source(name: str) -> AbstractContextManager[BinaryIO]:
    """Return a context manager of the input; `-` is stdin."""
    from litgpt.application.files.json_lines import open_input
    from litgpt.domain.validators import local_path

    return open_input(None if name == "-" else local_path("input_file", name))


def read_lines(
    source: BinaryIO, part: "Shard", drain: "DrainOnSignal", is_answering: Callable[[], bool]
) -> "Iterator[BatchLine | None]":
    """Yield the lines of a shard until a signal is received; None while no line is ready.

    `is_answering` is whether the caller has something else to do than to wait for a line.
    """
    from litgpt.application.batch.lines import BatchLine
    from litgpt.application.files.json_lines import translated_errors
    from litgpt.application.files.ready_lines import ready_lines

    number = 0
    with translated_errors("Reading the input"):
        for raw in ready_lines(source, lambda: not is_answering()):
            if drain.is_requested:
                drain.has_left_lines = True
                return
            if raw is None:
                yield None
                continue
            number += 1
            if part.has(number) and raw.strip():
                yield BatchLine.parse(number, raw)
