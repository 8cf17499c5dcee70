"""Tests of progress reports: lines in a log and bars on a terminal, from the same events."""

import io
import sys
import types

import pytest

from litgpt.domain.progress import Notice, Progress, null_reporter
from litgpt.progress_report import BarReporter, LogReporter, default_reporter


class Log:
    """A log whose clock the test sets."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.now = 0.0
        self.report = LogReporter(self.lines.append, lambda: self.now)

    def at(self, now: float, event: Notice | Progress) -> None:
        self.now = now
        self.report(event)


def loading(done: int) -> Progress:
    return Progress("Loading tiny", done, 100)


def test_a_phase_shorter_than_a_second_has_no_line() -> None:
    log = Log()
    for done in range(0, 101, 20):
        log.at(done / 125, loading(done))
    assert log.lines == []


def test_a_phase_has_a_line_after_a_second_then_every_ten_and_one_at_its_end() -> None:
    log = Log()
    for done in range(101):
        log.at(done / 4, loading(done))
    assert log.lines == [
        "Loading tiny: 4 of 100 tensors, 24 s left",
        "Loading tiny: 44 of 100 tensors, 14 s left",
        "Loading tiny: 84 of 100 tensors, 4.0 s left",
        "Loading tiny: 100 of 100 tensors",
    ]


def test_downloads_are_in_bytes() -> None:
    log = Log()
    for second in range(3):
        log.at(second, Progress("Downloading", second * 10**9, 4 * 10**9, unit="B"))
    assert log.lines == ["Downloading: 1.0 GB of 4.0 GB, 3.0 s left"]


def steps(log: Log, total: int, seconds: float, *, first: int = 0, parts: int = 1) -> None:
    for part in range(first * parts, total * parts + 1):
        log.at(part * seconds / parts, Progress("Training", part / parts, total, unit="steps", note="loss 1"))


def test_a_long_training_has_the_first_step_and_twenty_more_lines() -> None:
    log = Log()
    steps(log, 1000, 0.1)
    assert len(log.lines) == 21
    assert log.lines[0] == "Training: step 1 of 1000, loss 1"
    assert log.lines[1] == "Training: step 50 of 1000, loss 1, 1 min 35 s left"
    assert log.lines[-1] == "Training: step 1000 of 1000, loss 1"


def test_slow_steps_have_a_line_every_half_minute_even_between_them() -> None:
    log = Log()
    steps(log, 4, 60, parts=12)
    assert log.lines[:3] == [
        "Training: step 0.5 of 4, loss 1",
        "Training: step 1 of 4, loss 1",
        "Training: step 1.5 of 4, loss 1",
    ]
    assert log.lines[-1] == "Training: step 4 of 4, loss 1"
    assert len(log.lines) == 8


def test_the_time_left_of_a_resumed_run_does_not_count_the_steps_before() -> None:
    log = Log()
    steps(log, 20, 2, first=10)
    assert log.lines[0] == "Training: step 11 of 20, loss 1"
    assert log.lines[2] == "Training: step 13 of 20, loss 1, 14 s left"


def test_the_kind_of_report_depends_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LITGPT_QUIET", raising=False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(default_reporter(None), LogReporter)
    notebook = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(config={"IPKernelApp": {}}))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "IPython", notebook)
        assert isinstance(default_reporter(None), BarReporter)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(default_reporter(None), BarReporter)
    assert default_reporter(quiet=True) is null_reporter
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert default_reporter(None) is null_reporter


def test_a_notice_does_not_break_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    report = BarReporter()
    for done in (0, 0.5, 1):
        report(Progress("Training", done, 2, unit="steps", note=f"loss {done}"))
        report(Progress("Validating", 1, 1, unit="batches"))
    report(Notice("Validation: loss 3"))
    report(Progress("Training", 2, 2, unit="steps"))
    lines = [line.rsplit("\r", 1)[-1] for line in stream.getvalue().split("\n")]
    assert "Validation: loss 3" in [line.strip() for line in lines]
    assert stream.getvalue().count("step 0/2") >= 1
    assert "Training, step 2/2: 100%" in stream.getvalue()
