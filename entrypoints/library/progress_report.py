"""Report progress on stderr: bars on a terminal or in a notebook, lines in a log file."""

import math
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from litgpt.domain.formatting.units import format_bytes, format_duration
from litgpt.domain.progress import Notice, Progress, Reporter, null_reporter
from litgpt.process_rank import is_first_process

if TYPE_CHECKING:
    from tqdm import tqdm

Write = Callable[[str], None]

_FIRST_LINE, _NEXT_LINE = 1.0, 10.0
"""Seconds before the first log line of a phase, and between further lines."""

_STEP_LINE = 30.0
"""Maximum seconds between two log lines of a training run."""

_STEP_LINES = 20
"""Number of evenly spaced log lines of a training run; slow runs get more, see `_STEP_LINE`."""


def write_line(text: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@attrs.define(eq=False)
class BarReporter:
    """Shows tqdm progress bars, as widgets in a notebook, and writes notices above them."""

    write: Write = write_line
    _bars: "dict[str, tqdm[Any]]" = attrs.field(factory=dict, init=False)
    _training: str = attrs.field(default="", init=False)

    def __call__(self, event: Notice | Progress) -> None:
        if isinstance(event, Notice):
            self._write_above(event.text)
            return
        bar = self._bars.get(event.description)
        if bar is None:
            for description in [name for name in self._bars if name != self._training]:
                self._close(description)
            bar = self._bars[event.description] = _bar(event)
            if event.unit == "steps":
                self._training = event.description
        if event.unit == "steps":
            bar.set_description_str(_step(event), refresh=False)
        if event.note:
            bar.set_postfix_str(event.note, refresh=False)
        bar.update(event.completed - bar.n)
        if event.completed >= event.total:
            self._close(event.description)

    def _write_above(self, text: str) -> None:
        if not self._bars:
            self.write(text)
            return
        with next(iter(self._bars.values())).external_write_mode(file=sys.stderr):
            self.write(text)

    def _close(self, description: str) -> None:
        self._bars.pop(description).close()


def _bar(event: Progress) -> "tqdm[Any]":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets, the bar is text
        from tqdm.auto import tqdm

    in_bytes, in_steps = event.unit == "B", event.unit == "steps"
    return tqdm(
        total=event.total,
        initial=event.completed,
        desc=_step(event) if in_steps else event.description,
        unit=event.unit if in_bytes else f" {event.unit}",
        unit_scale=in_bytes,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]" if in_steps else None,
        delay=0 if in_bytes or in_steps else 1,  # shorter phases get no bar
        leave=in_bytes or in_steps,
        file=sys.stderr,
    )


def _step(event: Progress) -> str:
    return f"{event.description}, step {int(event.completed)}/{event.total}"


@attrs.define
class _Phase:
    began: float
    begun_at: float
    completed: float
    lines: int = 0
    last_line: float = 0.0

    def seconds_left(self, event: Progress, now: float) -> float | None:
        """Return the estimated seconds left; None until enough units are completed."""
        measured = event.completed - self.begun_at
        few = {"steps": 2, "B": 0}.get(event.unit, event.total / 50)  # the first units take longest
        if measured <= 0 or measured < few or event.completed >= event.total:
            return None
        return (now - self.began) / measured * (event.total - event.completed)


@attrs.define(eq=False)
class LogReporter:
    """Writes notices and periodic progress lines, without carriage returns and colors."""

    write: Write = write_line
    clock: Callable[[], float] = time.monotonic
    _phases: dict[str, _Phase] = attrs.field(factory=dict, init=False)

    def __call__(self, event: Notice | Progress) -> None:
        if isinstance(event, Notice):
            self.write(event.text)
            return
        now = self.clock()
        phase = self._phases.get(event.description)
        if phase is None or event.completed < phase.completed:
            phase = self._phases[event.description] = _Phase(
                now, event.completed, event.completed, last_line=now
            )
        elif event.unit == "steps" and event.completed >= 1 + phase.begun_at and phase.lines == 0:
            # The first step takes longer than others, so the speed is measured from its end.
            self._line(phase, event, now)
            phase.began, phase.begun_at = now, event.completed
        elif (_is_step_due if event.unit == "steps" else _is_due)(phase, event, now):
            self._line(phase, event, now)
        phase.completed = event.completed
        if event.completed >= event.total:
            del self._phases[event.description]

    def _line(self, phase: _Phase, event: Progress, now: float) -> None:
        left = phase.seconds_left(event, now)
        parts = [_format_progress(event), event.note, "" if left is None else f"{format_duration(left)} left"]
        self.write(f"{event.description}: {', '.join(filter(None, parts))}")
        phase.lines, phase.last_line = phase.lines + 1, now


def _is_due(phase: _Phase, event: Progress, now: float) -> bool:
    if event.completed >= event.total:
        return phase.lines > 0 or now - phase.began >= _FIRST_LINE
    return now - phase.last_line >= (_NEXT_LINE if phase.lines else _FIRST_LINE)


def _is_step_due(phase: _Phase, event: Progress, now: float) -> bool:
    if now - phase.last_line >= _STEP_LINE:
        return True
    every = math.ceil(event.total / _STEP_LINES)
    return int(event.completed) > int(phase.completed) and (
        event.completed >= event.total or int(event.completed) % every == 0
    )


def _format_progress(event: Progress) -> str:
    if event.unit == "B":
        return f"{format_bytes(int(event.completed))} of {format_bytes(event.total)}"
    if event.unit == "steps":
        return f"step {event.completed:.1f} of {event.total}".replace(".0 ", " ")
    return f"{event.completed:.0f} of {event.total} {event.unit}"


def quiet_by_environment() -> bool:
    """Return whether LITGPT_QUIET is set, to a value other than 0."""
    return os.environ.get("LITGPT_QUIET", "") not in ("", "0")


def default_reporter(quiet: bool | None, write: Write = write_line) -> Reporter:  # noqa: FBT001 - passed on by LLM.load
    """Return a reporter to stderr, or a null reporter if `quiet` (None: LITGPT_QUIET) or not on rank 0."""
    if (quiet_by_environment() if quiet is None else quiet) or not is_first_process():
        return null_reporter
    return BarReporter(write) if sys.stderr.isatty() or _in_notebook() else LogReporter(write)


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config
