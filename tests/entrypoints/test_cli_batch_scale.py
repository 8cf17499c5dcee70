"""Tests of `litgpt batch` with a million lines: its memory, and its progress."""

import json
import time
from pathlib import Path

import pytest

from litgpt.application.batch.progress import BatchCounts
from litgpt.cli import console
from litgpt.cli.batches import progress
from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.batch_runs import PATIENCE, start

COUNT = 1_000_000
MOST_BYTES = 32 << 20


def line(number: int) -> str:
    """Return one of the lines of a long file, most of which cannot be answered, as that is quick."""
    match number % 4:
        case 0:
            return "{bad"
        case 1:
            return json.dumps({"id": f"{number * 2**64 // COUNT:032x}", "messages": 1})
        case 2:
            return json.dumps({"custom_id": number, "url": "/v1/completions", "body": {"prompt": 1}})
    if number % 1000 == 3:
        return json.dumps({"id": f"good-{number}", "prompt": "x", "max_tokens": 2, "ignore_eos": True})
    return json.dumps({"id": f"line-{number}", "prompt": 1})


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("devices", [1, 2])
def test_a_million_lines_need_no_more_memory_than_the_first_ones(tmp_path: Path, devices: int) -> None:
    with (tmp_path / "in.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(f"{line(number)}\n" for number in range(COUNT))
    out = tmp_path / "out.jsonl"
    arguments = ("in.jsonl", "out.jsonl", "--model", str(tiny_folder("llama")), "--accelerator", "cpu")
    samples: list[tuple[int, int]] = []
    deadline = time.monotonic() + 3 * PATIENCE
    with start(tmp_path, *arguments, "--devices", str(devices), "--quiet") as process:
        while process.poll() is None:
            assert time.monotonic() < deadline
            if out.exists() and (size := out.stat().st_size):
                samples.append((size, resident(process.pid)))
            time.sleep(0.05)
        _, notes = process.communicate()
    assert f"{COUNT - 1000:,} lines could not be answered" in notes
    total, _ = samples[-1]
    early = next(memory for size, memory in samples if size > total // 10)
    assert max(memory for _, memory in samples) - early < MOST_BYTES


def resident(pid: int) -> int:
    """Return the resident memory of a process, in bytes; 0 when it has ended."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return next((int(row.split()[1]) << 10 for row in status.splitlines() if row.startswith("VmRSS:")), 0)


def test_the_time_left_is_that_of_the_lines_that_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    now, notes = [0.0], list[str]()
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    monkeypatch.setattr(console, "note", notes.append)
    monkeypatch.setattr(console, "stderr_is_terminal", lambda: False)
    counts = BatchCounts()
    with progress.BatchDisplay(10_000, quiet=False) as display:
        now[0], counts.skipped, counts.errors = 30.0, 4_000, 3_000  # in no time
        display.show(counts, is_draining=False)
        for _ in range(5):
            now[0] += 30
            counts.done += 300
            counts.completion_tokens += 3_000
            display.show(counts, is_draining=False)
    assert notes[0] == "7,000/10,000 lines, 0.0 tokens/s, 3,000 errors"
    assert notes[-1] == "8,500/10,000 lines, 100.0 tokens/s, 3,000 errors, 2 min 30 s left"
