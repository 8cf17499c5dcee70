"""Tests of the input and output of `litgpt batch`: pipes, compressed files, standard streams, full disks."""

import gzip
import json
import os
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.batch_runs import PATIENCE, batch, every_id, ids, numbered, read, start, write


@pytest.fixture(scope="module")
def tiny() -> str:
    return str(tiny_folder("llama"))


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_answers_come_before_the_next_line_is_written(tmp_path: Path, tiny: str, engine: str) -> None:
    arguments = ("-", "-", "--model", tiny, "--engine", engine, "--quiet")
    with start(tmp_path, *arguments) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(f'{{"id": {number}, "prompt": "Hello", "max_tokens": 2}}\n')
            process.stdin.flush()
            assert f'"id": {number}' in process.stdout.readline()
        process.send_signal(signal.SIGTERM)  # while it waits for a line
        assert process.wait(PATIENCE) == 130


def test_an_incomplete_last_line_is_answered(tmp_path: Path, tiny: str) -> None:
    batch(tmp_path, "-", "out.jsonl", "--model", tiny, stdin='{"id": "a", "prompt": "x"}\n{"prompt": "y"}')
    assert sorted(ids(tmp_path / "out.jsonl")) == ["a", "line-2"]


def test_compressed_files_are_read(tmp_path: Path, tiny: str) -> None:
    write(tmp_path / "in.jsonl", numbered(30))
    raw = gzip.compress((tmp_path / "in.jsonl").read_bytes())
    (tmp_path / "in.jsonl.gz").write_bytes(raw)
    notes = batch(tmp_path, "in.jsonl.gz", "out.jsonl", "--model", tiny)
    assert "30 lines answered" in notes
    assert sorted(ids(tmp_path / "out.jsonl")) == every_id(30)
    (tmp_path / "torn.jsonl.gz").write_bytes(raw[:-20])
    notes = batch(tmp_path, "torn.jsonl.gz", "torn.jsonl", "--model", tiny, status=1)
    assert "error: Reading the input is not possible: " in notes
    assert "native engine" not in notes


@pytest.mark.parametrize("is_compressed", [False, True])
def test_stdin_may_be_a_file(tmp_path: Path, tiny: str, is_compressed: bool) -> None:  # noqa: FBT001
    raw = b"".join(f"{json.dumps(it)}\n".encode() for it in numbered(4))
    (tmp_path / "in").write_bytes(gzip.compress(raw) if is_compressed else raw)
    with (tmp_path / "in").open("rb", buffering=0) as file:
        if not is_compressed:
            file.seek(raw.index(b"\n") + 1)  # another program has read the first line
        command = [sys.executable, "-m", "litgpt.cli", "batch", "-", "out.jsonl", "--model", tiny]
        subprocess.run(command, cwd=tmp_path, stdin=file, check=True, timeout=PATIENCE)
    assert sorted(ids(tmp_path / "out.jsonl")) == every_id(4 if is_compressed else 3)


@pytest.mark.parametrize("name", ["-", "fifo"])
def test_compressed_pipes_are_refused(tmp_path: Path, tiny: str, name: str) -> None:
    raw = gzip.compress(b'{"prompt": "x"}\n' * 100)
    os.mkfifo(tmp_path / "fifo")
    with start(tmp_path, name, "out.jsonl", "--model", tiny) as process:
        assert process.stdin is not None
        if name == "-":
            process.stdin.buffer.write(raw)  # type: ignore[attr-defined]
        else:
            (tmp_path / name).write_bytes(raw)
        _, notes = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "error: Reading the input is not possible: the pipe is compressed with gzip." in notes
    assert notes.count("error:") == 1
    assert not (tmp_path / "out.jsonl").read_bytes()


def test_stdout_is_not_continued(tmp_path: Path, tiny: str) -> None:
    write(tmp_path / "in.jsonl", numbered(2))
    with (tmp_path / "all.txt").open("w", encoding="utf-8") as file:
        file.write("my notes\n")
        file.flush()
        for name in ("-", "/dev/stdout"):
            subprocess.run(
                [sys.executable, "-m", "litgpt.cli", "batch", "in.jsonl", name, "--model", tiny, "--quiet"],
                cwd=tmp_path,
                stdout=file,
                check=True,
                timeout=PATIENCE,
            )
    first, *answers = (tmp_path / "all.txt").read_text(encoding="utf-8").splitlines()
    assert first == "my notes"
    assert sorted(json.loads(it)["id"] for it in answers) == ["line-1", "line-1", "line-2", "line-2"]


def test_a_reader_that_has_enough_ends_the_run(tmp_path: Path, tiny: str) -> None:
    write(tmp_path / "in.jsonl", numbered(5000))
    with start(tmp_path, "in.jsonl", "/dev/stdout", "--model", tiny, "--quiet") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE) == 141
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_two_runs_may_write_to_a_device(tmp_path: Path, tiny: str) -> None:
    with start(tmp_path, "-", "/dev/null", "--model", tiny) as first:
        batch(tmp_path, "-", "/dev/null", "--model", tiny, stdin='{"prompt": "x"}')
        first.communicate(timeout=PATIENCE)


def test_a_run_continues_after_the_disk_was_full(tmp_path: Path, tiny: str) -> None:
    write(tmp_path / "in.jsonl", numbered(200))
    arguments = [sys.executable, "-m", "litgpt.cli", "batch", "in.jsonl", "out.jsonl", "--model", tiny]

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))  # a write fails in the middle of a line

    failed = subprocess.run(
        arguments,
        cwd=tmp_path,
        preexec_fn=limit,
        env={**os.environ, "OMP_NUM_THREADS": "1", "LITGPT_CACHE": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert failed.returncode == 1
    assert "error: Writing to out.jsonl is not possible: File too large." in failed.stderr
    assert (tmp_path / "out.jsonl").stat().st_size == 5000
    batch(tmp_path, "in.jsonl", "out.jsonl", "--model", tiny)
    assert sorted(ids(tmp_path / "out.jsonl")) == every_id(200)


def test_a_package_that_a_line_needs_is_named_and_the_run_can_be_continued(tmp_path: Path, tiny: str) -> None:
    pytest.importorskip("llguidance")
    (tmp_path / "missing").mkdir()
    (tmp_path / "missing" / "llguidance.py").write_text("raise ImportError", encoding="utf-8")
    without = {"PYTHONPATH": str(tmp_path / "missing")}
    write(tmp_path / "in.jsonl", [*numbered(2), {"id": "c", "prompt": "x", "choices": ["a"]}, *numbered(1)])
    arguments = ("in.jsonl", "out.jsonl", "--model", tiny)
    notes = batch(tmp_path, *arguments, status=1, **without)
    advice = (
        'choices needs the package llguidance, which is not installed. Run: pip install "litgpt[structured]"'
    )
    assert advice in notes
    assert sorted(ids(tmp_path / "out.jsonl")) == ["line-1", "line-2"]
    arguments_of_all = ("in.jsonl", "b.jsonl", "--model", tiny, "--choices", "a")
    notes = batch(tmp_path, *arguments_of_all, status=1, **without)
    assert advice in notes
    assert "native engine" not in notes
    batch(tmp_path, *arguments)
    assert [it["text"] for it in read(tmp_path / "out.jsonl") if it["id"] == "c"] == ["a"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell of POSIX")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [("batch - -", "error: Reading stdin is not possible: it is closed."), ("generate smollm2 -", "prompt")],
)
def test_a_closed_stdin_is_an_error_of_one_line(arguments: str, message: str) -> None:
    command = f"exec {shlex.quote(sys.executable)} -m litgpt.cli {arguments} <&-"
    run = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr.count("\n")) == (1, 1), run.stderr
    assert message in run.stderr
