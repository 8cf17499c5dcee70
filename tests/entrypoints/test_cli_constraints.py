"""Tests of `--schema`, `--regex`, `--grammar` and `--choices`."""

import io
import json
import sys
from pathlib import Path

import pytest

from tests.entrypoints.test_cli import run_cli

pytest.importorskip("llguidance")

SCHEMA = {
    "type": "object",
    "properties": {"born": {"type": "integer", "minimum": 1000, "maximum": 2100}},
    "required": ["born"],
    "additionalProperties": False,
}
QUESTION = ("generate", "smollm2", "When was Ada Lovelace born?", "--quiet")


def test_a_schema_is_json_or_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    for schema in (json.dumps(SCHEMA), str(tmp_path / "schema.json")):
        status, answer, notes = run_cli(capsys, *QUESTION, "--schema", schema)
        assert (status, notes) == (0, "")
        assert 1000 <= json.loads(answer)["born"] <= 2100


def test_other_constraints(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "g.lark").write_text('start: "in " /[0-9]{4}/', encoding="utf-8")
    assert run_cli(capsys, *QUESTION, "--grammar", str(tmp_path / "g.lark"))[1].startswith("in ")
    assert run_cli(capsys, *QUESTION, "--regex", "[0-9]{4}", "--stream")[1].strip().isdecimal()
    assert run_cli(capsys, *QUESTION, "--choices", "x, y")[1] in ("x\n", "y\n")
    assert run_cli(capsys, *QUESTION, "--choices", '["x, y"]')[1] == "x, y\n"


def test_a_chat_has_them(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hi\nWarm?\n"))
    status, answers, _ = run_cli(capsys, "chat", "smollm2", "--choices", "yes,no", "--quiet")
    assert status == 0
    assert set(answers.split()) <= {"yes", "no"}
    assert len(answers.split()) == 2


def test_an_answer_that_is_cut_off_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    status, answer, notes = run_cli(capsys, *QUESTION, "--regex", "[a-z ]{99}", "--max-new-tokens", "3")
    assert status == 1
    assert answer
    assert notes.startswith("error: The answer was cut off before it was complete: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--schema", "none.json"), "none.json is missing. Pass a JSON file with a schema"),
        (("--schema", '{"type":'), "--schema must be JSON"),
        (("--schema", '{"type": "nope"}'), "--schema must be one that llguidance supports"),
        (("--schema", "[1]"), "--schema must be a JSON schema"),
        (("--regex", "("), "--regex must be one that llguidance supports"),
        (("--regex", ""), "--regex must be a non-empty string"),
        (("--grammar", "none.lark"), "none.lark is missing. Pass the path of a file with a grammar."),
        (("--choices", " , "), "--choices must be a list of at least one string"),
        (("--choices", "a", "--regex", "a"), "--choices must be omitted with regex: only one constraint is"),
    ],
)
def test_mistakes_are_reported_before_the_model_is_loaded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "in.jsonl").write_text('{"prompt": "x"}\n', encoding="utf-8")
    files = (str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"))
    for command in (("generate", "none", "hi"), ("chat", "none"), ("batch", *files, "--model", "none")):
        status, _, notes = run_cli(capsys, *command, *arguments)
        assert status == 1
        assert message in notes
