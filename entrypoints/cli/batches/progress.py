"""The progress of `litgpt batch` on stderr."""

from collections import deque
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Self

from litgpt.cli import console

if TYPE_CHECKING:
    from litgpt.application.batch.progress import BatchCounts

_TERMINAL_SECONDS, _LOG_SECONDS = 0.2, 30.0
"""The time between two updates of a line on a terminal, and between two lines in a log."""

_RECENT_SECONDS = 60.0
"""The time for which the speed is shown."""


class _Sample(NamedTuple):
    time: float
    done: int
    completion_tokens: int


class BatchDisplay:
    """Shows lines done, tokens per second and the time left; `total` is None if it is unknown."""

    def __init__(self, total: int | None, *, quiet: bool) -> None:
        self._total, self._is_quiet = total, quiet
        self._line = console.TransientLine("", quiet=quiet)
        self._is_terminal = console.stderr_is_terminal()
        self._is_draining = False
        self._started = self._shown = monotonic()
        self._samples = deque([_Sample(self._started, 0, 0)])

    def __enter__(self) -> Self:
        self._started = self._shown = monotonic()
        self._samples = deque([_Sample(self._started, 0, 0)])
        return self

    def __exit__(self, *_: object) -> None:
        self._line.hide()

    def show(self, counts: "BatchCounts", *, is_draining: bool) -> None:
        """Update the progress, if some time has passed."""
        if self._is_quiet:
            return
        if is_draining and not self._is_draining:
            self._is_draining = True
            self._line.hide()
            console.note("Stopping: running requests are finished. A second signal stops at once.")
        now = monotonic()
        if now - self._shown < (_TERMINAL_SECONDS if self._is_terminal else _LOG_SECONDS):
            return
        self._shown = now
        text = self._progress(counts, now)
        if self._is_terminal:
            self._line.text = text
            self._line.show()
        else:
            console.note(text)

    def _progress(self, counts: "BatchCounts", now: float) -> str:
        from litgpt.domain.formatting.units import format_count, format_duration

        finished = counts.done + counts.errors + counts.skipped + counts.repeated
        of = "" if self._total is None else f"/{self._total:,}"
        # The recent speed: lines of an earlier run and lines with errors take next to no time.
        while len(self._samples) > 1 and now - self._samples[0].time > _RECENT_SECONDS:
            self._samples.popleft()
        earlier = self._samples[0]
        seconds, done = max(now - earlier.time, 1e-9), counts.done - earlier.done
        self._samples.append(_Sample(now, counts.done, counts.completion_tokens))
        tokens = counts.completion_tokens - earlier.completion_tokens
        parts = [f"{finished:,}{of} lines", f"{tokens / seconds:,.1f} tokens/s"]
        if counts.errors:
            parts.append(format_count(counts.errors, "error"))
        if self._total is not None and done:
            left = max(self._total - finished, 0)
            parts.append(f"{format_duration(left * seconds / done)} left")
        return ", ".join(parts)

    def summarize(self, counts: "BatchCounts", path: Path, *, earlier_errors: int) -> None:
        """Show what the run has done; errors are shown in any case."""
        from litgpt.application.files.json_lines import STDOUT
        from litgpt.domain.formatting.units import format_count, format_duration

        seconds = monotonic() - self._started
        errors = counts.errors + earlier_errors
        if not self._is_quiet:
            cached = f" ({counts.cached_tokens:,} cached)" if counts.cached_tokens else ""
            speed = counts.completion_tokens / max(seconds, 1e-9)
            skipped = f", {counts.skipped:,} skipped as done" if counts.skipped else ""
            console.note(
                f"{format_count(counts.done, 'line')} answered in {format_duration(seconds)}{skipped}: "
                f"{format_count(counts.prompt_tokens, 'prompt token')}{cached}, "
                f"{format_count(counts.completion_tokens, 'token')} generated, {speed:,.1f} tokens/s."
            )
        if counts.repeated:
            console.error(f"{format_count(counts.repeated, 'line')} skipped: another line has the same id.")
        if errors:
            earlier = f", of which {earlier_errors:,} are of an earlier run" if earlier_errors else ""
            advice = "."
            if path != STDOUT:  # which cannot be continued
                advice = (
                    f': see "error" in {path}. Remove their lines from that file and run the same command'
                )
                advice += " again to try them again."
            console.error(f"{format_count(errors, 'line')} could not be answered{earlier}{advice}")

    def advise_to_continue(self) -> None:
        if not self._is_quiet:
            console.note("Stopped early. Run the same command again to continue.")
