"""Tests of `litgpt batch --devices N`: a process per device, here the CPU."""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.batch_runs import (
    PATIENCE,
    batch,
    every_id,
    give,
    ids,
    jsonl,
    numbered,
    read,
    start,
    wait_for_lines,
    write,
)

LONG = 1 << 20
"""A number of tokens that takes hours."""
COUNT = 700
"""A number of lines, more than the processes take at once."""
DEVICES = ("--devices", "2", "--accelerator", "cpu")


@pytest.fixture(scope="module")
def tiny() -> str:
    return str(tiny_folder("llama"))


needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")


def workers(process: subprocess.Popen[str]) -> list[int]:
    """Return the ids of the processes that a process has started."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in listed.stdout.split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_two_processes_give_the_answers_of_one(tmp_path: Path, tiny: str) -> None:
    lines = numbered(700)
    lines[3] |= {"id": "x", "n": 2}
    lines[4] |= {"id": "x"}
    lines[5] |= {"temprature": 1}
    write(tmp_path / "in.jsonl", lines)
    for devices in ((), DEVICES):
        notes = batch(tmp_path, "in.jsonl", f"out{len(devices)}.jsonl", "--model", tiny, *devices, status=1)
        assert "698 lines answered" in notes
        assert "error: 1 line skipped: another line has the same id." in notes
        assert "error: 1 line could not be answered" in notes
        assert notes.count("Using the native engine") == 1
    one, two = (
        {it["id"]: {**it, "cached_tokens": 0} for it in read(tmp_path / f"out{count}.jsonl")}
        for count in (0, 4)
    )
    assert two == one
    batch(tmp_path, "in.jsonl", "out4.jsonl", "--model", tiny, *DEVICES, status=1)
    assert len(ids(tmp_path / "out4.jsonl")) == 699


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_both_after_their_lines(tmp_path: Path, tiny: str, number: signal.Signals) -> None:
    arguments = ("-", "out.jsonl", "--model", tiny)
    out = tmp_path / "out.jsonl"
    with start(tmp_path, *arguments, *DEVICES) as process:
        give(process, COUNT)
        wait_for_lines(process, out, 10)
        process.send_signal(number)  # while it waits for more lines
        assert process.wait(PATIENCE) == 130
        _, notes = process.communicate()
    assert "Stopping: running requests are finished." in notes
    answered = ids(out)
    assert 10 <= len(answered) <= COUNT
    assert sorted(answered) == every_id(len(answered))
    batch(tmp_path, *arguments, stdin=jsonl(numbered(COUNT + 10)))
    assert sorted(ids(out)) == every_id(COUNT + 10)


@needs_proc
def test_the_end_of_one_process_is_an_error_and_the_run_can_be_continued(tmp_path: Path, tiny: str) -> None:
    arguments = ("-", "out.jsonl", "--model", tiny)
    out = tmp_path / "out.jsonl"
    with start(tmp_path, *arguments, *DEVICES) as process:
        give(process, COUNT)
        wait_for_lines(process, out, 10)
        os.kill(workers(process)[0], signal.SIGKILL)  # while it has or waits for lines
        assert process.wait(PATIENCE) == 1
        _, notes = process.communicate()
    assert "is gone: it was ended by SIGKILL, possibly because memory ran out. Run the same command" in notes
    assert "Traceback" not in notes
    batch(tmp_path, *arguments, *DEVICES, stdin=jsonl(numbered(COUNT + 10)))
    assert sorted(ids(out)) == every_id(COUNT + 10)


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_processes_end_with_the_one_that_started_them(
    tmp_path: Path, tiny: str, number: signal.Signals
) -> None:
    config = json.loads(shutil.copytree(tiny, tmp_path / "tiny").joinpath("config.json").read_text())
    config["max_position_embeddings"] = LONG
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    lines = [{"prompt": "x", "ignore_eos": True, "max_tokens": 1 if at < 2 else LONG - 64} for at in range(4)]
    write(tmp_path / "in.jsonl", lines)
    with start(tmp_path, "in.jsonl", "out.jsonl", "--model", "tiny", *DEVICES) as process:
        wait_for_lines(process, tmp_path / "out.jsonl", 2)  # and the two others take hours
        started = workers(process)
        assert len(started) == 2
        try:
            if number == signal.SIGTERM:  # the second one ends the run at once
                assert process.stderr is not None
                process.send_signal(number)
                while "Stopping" not in process.stderr.readline():
                    assert process.poll() is None
            process.send_signal(number)
            assert process.wait(PATIENCE) == (143 if number == signal.SIGTERM else -number)
            deadline = time.monotonic() + PATIENCE
            while any(map(is_running, started)):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            for pid in started:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def test_an_error_of_the_model_is_shown_once(tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", numbered(3))
    notes = batch(tmp_path, "in.jsonl", "out.jsonl", "--model", "none/such", *DEVICES, status=1)
    assert notes.count("error:") == 1
    assert "error: 'none/such' " in notes
    assert not (tmp_path / "out.jsonl").read_bytes()


def test_stdin_is_shared_and_answers_come_at_once(tmp_path: Path, tiny: str) -> None:
    with start(tmp_path, "-", "-", "--model", tiny, *DEVICES, "--quiet") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in (1, 2, 3):
            process.stdin.write(f'{{"id": {number}, "prompt": "Hello", "max_tokens": 2}}\n')
            process.stdin.flush()
            assert f'"id": {number}' in process.stdout.readline()
        _, notes = process.communicate(timeout=PATIENCE)
    assert (process.returncode, notes) == (0, "")
