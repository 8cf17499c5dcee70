"""Telling how far a download is, in place of the bars that huggingface_hub would draw."""

from threading import Event
from types import TracebackType
from typing import Self

import attrs

from litgpt.domain.progress import Progress, Reporter


@attrs.define
class DownloadProgress:
    """Adds up the bytes of several files.

    Attributes:
        description: What is being downloaded.
        total: The bytes of all files together.
        report: Is told.

    """

    description: str
    total: int
    report: Reporter
    _complete: int = attrs.field(default=0, init=False)
    _written: int = attrs.field(default=0, init=False)
    _reported: int = attrs.field(default=-1, init=False)

    def add(self, count: float) -> None:
        """Count bytes of the present file; a negative number takes them back, when it has to begin anew."""
        self._written += int(count)
        self._report_progress()

    def complete_file(self, size: int) -> None:
        """Count the present file as complete, however its bytes were counted while they came."""
        self._complete, self._written = self._complete + size, 0
        self._report_progress()

    def _report_progress(self) -> None:
        done = min(max(self._complete + self._written, 0), self.total)
        if (
            done != self._reported
        ):  # the end in particular is told once: whoever listens takes its bar away then
            self._reported = done
            self.report(Progress(self.description, done, self.total, unit="B"))


class DownloadAbandoned(Exception):
    """Ends a download that nobody waits for any more, at its next byte."""


class TqdmShim:
    """All that huggingface_hub asks of a progress bar, and nothing on the screen.

    It makes its bars itself, from a class; what they report to comes from a subclass made by `bars`.
    """

    progress: DownloadProgress | None
    moved: Event
    abandoned: Event

    def __init__(self, *_: object, total: float | None = None, initial: float = 0, **__: object) -> None:
        self.total = total
        self.n = 0.0
        if initial:
            self.update(initial)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def update(self, count: float | None = 1) -> None:
        """Count bytes that were written."""
        if self.abandoned.is_set():
            raise DownloadAbandoned
        self.n += count or 0
        self.moved.set()
        if self.progress is not None:
            self.progress.add(count or 0)

    def update_transfer(self, count: float | None = 1) -> None:  # noqa: ARG002
        """Take bytes on the wire for a sign of life; they may be compressed, and count when written."""
        self.moved.set()

    def set_postfix_str(self, *_: object, **__: object) -> None:
        """Show no speed."""

    def set_transfer_postfix_str(self, *_: object, **__: object) -> None:
        """Show no speed."""

    def refresh(self) -> None:
        """Draw nothing."""

    def close(self) -> None:
        """Leave nothing behind."""


def make_tqdm_class(progress: DownloadProgress | None, moved: Event, abandoned: Event) -> type[TqdmShim]:
    """Return a class that huggingface_hub takes for a progress bar.

    Args:
        progress: Counts the bytes; None tells nobody of them.
        moved: Is set whenever some come.
        abandoned: Once it is set, the download ends at its next byte.

    """
    return type("MeteredBar", (TqdmShim,), {"progress": progress, "moved": moved, "abandoned": abandoned})
