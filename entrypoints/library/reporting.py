"""What a user of the library sees while something takes its time: lines and bars on stderr."""

import os
import sys
from typing import TYPE_CHECKING, Any

import attrs

from litgpt.domain.reporting import Notice, Progress, Report, silent

if TYPE_CHECKING:
    from tqdm import tqdm


@attrs.define(eq=False)
class StderrReport:
    """Writes notices as lines and progress as a bar."""

    _bar: "tqdm[Any] | None" = attrs.field(default=None, init=False)
    _what: str = attrs.field(default="", init=False)

    def __call__(self, event: Notice | Progress) -> None:
        """Show one event."""
        if isinstance(event, Notice):
            sys.stderr.write(f"{event.text}\n")
            return
        if self._bar is None or self._what != event.what:
            self._close()
            self._what, self._bar = event.what, _bar(event)
        if event.note:
            self._bar.set_postfix_str(event.note, refresh=False)
        self._bar.update(event.done - self._bar.n)
        if event.done >= event.total:
            self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar, self._what = None, ""


def _bar(event: Progress) -> "tqdm[Any]":
    from tqdm import tqdm

    in_bytes = event.unit == "B"
    return tqdm(
        total=event.total,
        desc=event.what,
        unit=event.unit if in_bytes else f" {event.unit}",
        unit_scale=in_bytes,
        delay=0 if in_bytes else 1,  # what is over within a second needs no bar
        leave=in_bytes or event.unit == "steps",
        file=sys.stderr,
    )


def default_report(quiet: bool | None) -> Report:  # noqa: FBT001 - LLM.load passes on what it got
    """Return a report to stderr, or none at all if `quiet` or, where that is None, LITGPT_QUIET says so."""
    if quiet is None:
        quiet = os.environ.get("LITGPT_QUIET", "") not in ("", "0")
    return silent if quiet else StderrReport()
