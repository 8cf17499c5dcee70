"""Report download progress in place of huggingface_hub's progress bars."""

from threading import Event
from types import TracebackType
from typing import Self

import attrs

from litgpt.domain.progress import Progress, Reporter


@attrs.define
class DownloadProgress:
    """The progress of a download of several files, `total` bytes together."""

    description: str
    total: int
    report: Reporter
    _complete: int = attrs.field(default=0, init=False)
    _written: int = attrs.field(default=0, init=False)
    _reported: int = attrs.field(default=-1, init=False)

    def add(self, count: float) -> None:
        """Count bytes of the current file; negative when its download restarts."""
        self._written += int(count)
        self._report_progress()

    def complete_file(self, size: int) -> None:
        """Count the current file as complete, regardless of the bytes counted so far."""
        self._complete, self._written = self._complete + size, 0
        self._report_progress()

    def _report_progress(self) -> None:
        completed = min(max(self._complete + self._written, 0), self.total)
        if completed != self._reported:  # completion is reported once, because it removes the progress bar
            self._reported = completed
            self.report(Progress(self.description, completed, self.total, unit="B"))


class DownloadAbandoned(Exception):
    """Ends an abandoned download at its next byte."""


class TqdmShim:
    """Implements the part of tqdm's interface that huggingface_hub uses, without output.

    huggingface_hub creates instances of a class; `make_tqdm_class` binds the class attributes.
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
        if self.abandoned.is_set():
            raise DownloadAbandoned
        self.n += count or 0
        self.moved.set()
        if self.progress is not None:
            self.progress.add(count or 0)

    def update_transfer(self, count: float | None = 1) -> None:  # noqa: ARG002
        """Signal activity only: bytes on the wire may be compressed and are counted when written."""
        self.moved.set()

    def close(self, *_: object, **__: object) -> None:
        """Do nothing: no bar and no speed is shown."""

    set_postfix_str = set_transfer_postfix_str = refresh = close


def make_tqdm_class(progress: DownloadProgress | None, moved: Event, abandoned: Event) -> type[TqdmShim]:
    """Return a progress bar class for huggingface_hub that counts bytes in `progress`.

    It sets `moved` when bytes arrive; once `abandoned` is set, the download ends at its next byte.
    """
    return type("MeteredBar", (TqdmShim,), {"progress": progress, "moved": moved, "abandoned": abandoned})
