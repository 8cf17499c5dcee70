"""Tests of `litgpt batch`: the command in processes of its own, which are killed and continued."""

import json
import signal
from pathlib import Path

import pytest

from litgpt import LLM
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


@pytest.fixture(scope="module")
def tiny() -> str:
    return str(tiny_folder("llama"))


def test_greedy_answers_are_those_of_the_library(tmp_path: Path) -> None:
    prompts = ["What do llamas eat?", "Name a color.", "What is 2 + 2?"]
    write(tmp_path / "in.jsonl", [{"id": at, "prompt": prompt} for at, prompt in enumerate(prompts)])
    notes = batch(tmp_path, "in.jsonl", "out.jsonl", "--temperature", "0", "--max-new-tokens", "12")
    assert "3 lines answered in" in notes
    with LLM.load("smollm2") as llm:
        expected = llm.generate(prompts, temperature=0, max_new_tokens=12)
    texts = {it["id"]: it["text"] for it in read(tmp_path / "out.jsonl")}
    assert [texts[at] for at in range(3)] == expected


def test_a_killed_run_is_continued_and_each_line_is_answered_once(tmp_path: Path, tiny: str) -> None:
    write(tmp_path / "in.jsonl", numbered(1500, longest=30))
    arguments = ("in.jsonl", "out.jsonl", "--model", tiny)
    out = tmp_path / "out.jsonl"
    for count in (20, 500):
        with start(tmp_path, *arguments) as process:
            wait_for_lines(process, out, count)
            process.kill()
    answered = out.read_bytes().count(b"\n")
    assert 500 <= answered < 1500
    with out.open("ab") as file:
        file.write(b'{"id": "line-1500", "text": "torn')
    notes = batch(tmp_path, *arguments)
    assert f"{1500 - answered:,} lines answered" in notes
    assert f"{answered} skipped as done" in notes
    assert sorted(ids(out)) == every_id(1500)
    before = out.read_bytes()
    batch(tmp_path, *arguments)
    assert out.read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_after_the_running_requests(
    tmp_path: Path, tiny: str, number: signal.Signals
) -> None:
    arguments = ("-", "out.jsonl", "--model", tiny)
    out = tmp_path / "out.jsonl"
    with start(tmp_path, *arguments) as process:
        give(process, 400)
        wait_for_lines(process, out, 10)
        process.send_signal(number)  # while it waits for more lines
        assert process.wait(PATIENCE) == 130
        _, notes = process.communicate()
    assert "Stopping: running requests are finished." in notes
    assert "Run the same command again to continue." in notes
    answered = ids(out)
    assert 10 <= len(answered) <= 400
    assert sorted(answered) == every_id(len(answered))  # all that were started
    batch(tmp_path, *arguments, stdin=jsonl(numbered(410)))
    assert sorted(ids(out)) == every_id(410)


def test_shards_have_together_the_answers_of_one_run(tmp_path: Path, tiny: str) -> None:
    write(tmp_path / "in.jsonl", numbered(50))
    batch(tmp_path, "in.jsonl", "one.jsonl", "--model", tiny)
    arguments = ("in.jsonl", "out.jsonl", "--model", tiny)
    batch(tmp_path, *arguments, "--shard", "0/3")
    batch(tmp_path, *arguments, RANK="2", WORLD_SIZE="3")
    failure = batch(tmp_path, "--merge", "out.jsonl", status=1)
    assert "out.r00001.jsonl is missing. Run that shard first" in failure
    batch(tmp_path, *arguments, SLURM_PROCID="1", SLURM_NTASKS="3")
    assert "Merged 3 files into out.jsonl: 50 lines, 0 errors." in batch(tmp_path, "--merge", "out.jsonl")
    merged = sorted(read(tmp_path / "out.jsonl"), key=str)
    assert merged == sorted(read(tmp_path / "one.jsonl"), key=str)


def test_errors_are_in_the_output_and_in_the_exit_status(tmp_path: Path, tiny: str) -> None:
    text = '{"id": "a", "prompt": "x"}\n\n{bad\n{"id": "a", "prompt": "y"}\n{"id": "b", "prompt": "%s"}\n'
    (tmp_path / "in.jsonl").write_text(text % ("z" * 2000), encoding="utf-8")
    arguments = ("in.jsonl", "out.jsonl", "--model", tiny)
    notes = batch(tmp_path, *arguments, status=1)
    assert 'error: 2 lines could not be answered: see "error" in out.jsonl.' in notes
    assert "error: 1 line skipped: another line has the same id." in notes
    results = {it["id"]: it.get("error", {}) for it in read(tmp_path / "out.jsonl")}
    assert sorted(results) == ["a", "b", "line-3"]
    assert (results["b"]["type"], results["b"]["line"]) == ("PromptTooLong", 5)
    assert "of which 2 are of an earlier run" in batch(tmp_path, *arguments, status=1)
    with start(tmp_path, "in.jsonl", "-", "--model", tiny) as process:
        _, notes = process.communicate(timeout=PATIENCE)
    assert "error: 2 lines could not be answered.\n" in notes


def test_stdin_is_read_and_overwrite_starts_anew(tmp_path: Path, tiny: str) -> None:
    lines = "".join(f"{json.dumps(value)}\n" for value in numbered(3))
    batch(tmp_path, "-", "out.jsonl", "--model", tiny, stdin=lines)
    assert sorted(ids(tmp_path / "out.jsonl")) == every_id(3)
    short = json.dumps({"id": "z", "prompt": "x"})
    batch(tmp_path, "-", "out.jsonl", "--overwrite", "--model", tiny, stdin=short)
    assert ids(tmp_path / "out.jsonl") == ["z"]


def test_a_file_that_is_not_an_output_is_refused_unchanged(tmp_path: Path, tiny: str) -> None:
    write(tmp_path / "in.jsonl", numbered(1))
    (tmp_path / "out.jsonl").write_text("my notes\nunfinished", encoding="utf-8")
    notes = batch(tmp_path, "in.jsonl", "out.jsonl", "--model", tiny, status=1)
    assert "Continuing out.jsonl is not possible: its line 1 is not from the output of a batch" in notes
    assert "pass --overwrite" in notes
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == "my notes\nunfinished"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "Missing files: litgpt batch INPUT OUTPUT"),
        (("in.jsonl",), 2, "Missing files: litgpt batch INPUT OUTPUT"),
        (("none.jsonl", "out.jsonl"), 1, "Reading none.jsonl is not possible: No such file or directory."),
        (
            ("in.jsonl", "no/out.jsonl"),
            1,
            "Writing to no/out.jsonl is not possible: No such file or directory.",
        ),
        (("in.jsonl", "out.jsonl", "--shard", "3/3"), 1, "--shard must be RANK/WORLD"),
        (("in.jsonl", "out.jsonl", "--temperature", "-1"), 1, "--temperature must be"),
        (("in.jsonl", "out.jsonl", "--devices", "0"), 1, "--devices must be a positive integer, not 0."),
        (("in.jsonl", "--merge", "out.jsonl"), 2, "--merge takes no options but --quiet: litgpt batch"),
        (("--merge", "out.jsonl", "--overwrite"), 2, "--merge takes no options but --quiet: litgpt batch"),
        (("--merge", "out.jsonl", "--shard", "0/2"), 2, "--merge takes no options but --quiet: litgpt batch"),
        (("--merge", "out.jsonl", "--model", "smollm2"), 2, "--merge takes no options but --quiet: litgpt"),
        (
            ("--merge", "out.jsonl"),
            1,
            "Merging out.jsonl is not possible: files of shards, such as out.r00000.jsonl, were not found",
        ),
    ],
)
def test_mistakes_are_reported_before_the_model_is_loaded(
    tmp_path: Path, arguments: tuple[str, ...], status: int, message: str
) -> None:
    write(tmp_path / "in.jsonl", numbered(1))
    notes = batch(tmp_path, *arguments, status=status)
    assert message in notes
    assert "native engine" not in notes


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_of_one_line(tmp_path: Path, tiny: str) -> None:
    write(tmp_path / "in.jsonl", numbered(2))
    notes = batch(tmp_path, "in.jsonl", "/dev/full", "--model", tiny, status=1)
    assert "error: Writing to /dev/full is not possible: No space left on device." in notes
    assert "Traceback" not in notes


def test_two_runs_do_not_write_to_one_file(tmp_path: Path, tiny: str) -> None:
    with start(tmp_path, "-", "out.jsonl", "--model", tiny) as first:
        assert first.stdin is not None
        first.stdin.writelines(f"{json.dumps(value)}\n" for value in numbered(400))
        first.stdin.flush()  # it waits for more
        wait_for_lines(first, tmp_path / "out.jsonl", 1)
        notes = batch(tmp_path, "-", "out.jsonl", "--model", tiny, status=1)
        assert "Writing to out.jsonl is not possible: another process is writing to it." in notes
        first.communicate(timeout=PATIENCE)
    assert sorted(ids(tmp_path / "out.jsonl")) == every_id(400)


def test_the_torch_engine_answers_more_lines_than_fit_in_a_batch(tmp_path: Path, tiny: str) -> None:
    write(tmp_path / "in.jsonl", numbered(600))
    batch(tmp_path, "in.jsonl", "out.jsonl", "--model", tiny, "--engine", "torch", "--precision", "32-true")
    assert sorted(ids(tmp_path / "out.jsonl")) == every_id(600)
