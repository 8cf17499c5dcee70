"""Tests of chat templates on the command line: tools, variables, message files, and raw prompts."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from litgpt import LLM
from litgpt.cli.main import run
from litgpt.domain.chat.tool_schemas import function_schema
from tests.entrypoints.templated_model import CALL, templated_folder, weather

GREEDY = ("--top-k", "1", "--max-new-tokens", "4", "--accelerator", "cpu", "--precision", "32-true")
SCHEMA = function_schema(weather)
TALK: list[dict[str, Any]] = [
    {"role": "user", "content": "Warm?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "22", "tool_call_id": "1"},
]


@pytest.fixture(scope="module")
def folder() -> str:
    return str(templated_folder())


@pytest.fixture(scope="module")
def llm(folder: str) -> LLM:
    loaded = LLM.load(folder, distribute=None, quiet=True)
    loaded.distribute(accelerator="cpu", precision="32-true")
    return loaded


def run_cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = run(arguments)
    output = capsys.readouterr()
    return status, output.out, output.err


def answer(llm: LLM, prompt: Any, **options: Any) -> str:
    return f"{llm.complete(prompt, top_k=1, max_new_tokens=4, **options).text}\n"


def test_tools_and_variables_are_read_from_files_and_as_json(
    capsys: pytest.CaptureFixture[str], folder: str, llm: LLM, tmp_path: Path
) -> None:
    (tmp_path / "tools.json").write_text(json.dumps([SCHEMA]), encoding="utf-8")
    expected = answer(llm, "Warm?", tools=[weather], chat_template_kwargs={"enable_thinking": False})
    for tools in (str(tmp_path / "tools.json"), json.dumps([SCHEMA])):
        arguments = ("--tools", tools, "--chat-template-kwargs", '{"enable_thinking": false}', "--quiet")
        assert run_cli(capsys, "generate", folder, "--prompt", "Warm?", *GREEDY, *arguments) == (
            0,
            expected,
            "",
        )
    assert expected != answer(llm, "Warm?")


@pytest.mark.parametrize("saved", [TALK, {"messages": TALK, "tools": [SCHEMA]}])
def test_messages_are_read_from_a_file(
    capsys: pytest.CaptureFixture[str], folder: str, llm: LLM, tmp_path: Path, saved: Any
) -> None:
    (tmp_path / "talk.json").write_text(json.dumps(saved), encoding="utf-8")
    arguments = ("generate", folder, "--messages", str(tmp_path / "talk.json"), *GREEDY, "--quiet")
    tools = [weather] if isinstance(saved, dict) else None
    assert run_cli(capsys, *arguments) == (0, answer(llm, TALK, tools=tools), "")
    options = {"tools": tools, "continue_final_message": True}
    assert run_cli(capsys, *arguments, "--continue-final-message") == (0, answer(llm, TALK, **options), "")


def test_a_prompt_is_sent_as_it_is(capsys: pytest.CaptureFixture[str], folder: str, llm: LLM) -> None:
    ready = "<|begin|>user\nhi<|end|>\n<|begin|>assistant\n"
    expected = answer(llm, "hi")
    arguments = ("generate", folder, "--prompt", ready, *GREEDY)
    status, text, notes = run_cli(capsys, *arguments, "--no-apply-chat-template")
    assert (status, text) == (0, expected)
    assert "begins with" not in notes
    _, _, notes = run_cli(capsys, *arguments)
    assert notes.count("The prompt begins with '<|begin|>'") == 1
    assert "Use --no-apply-chat-template to send" in notes
    assert ".py" not in notes
    assert run_cli(capsys, *arguments, "--quiet")[2] == ""


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "error: Missing prompt: pass it after MODEL or with --prompt"),
        (
            ("--prompt", "hi", "--messages", "x.json"),
            2,
            "error: The prompt and --messages exclude each other",
        ),
        (("--messages", "nothing.json"), 1, "nothing.json is missing"),
        (
            ("--prompt", "hi", "--tools", "nothing.json"),
            1,
            "nothing.json is missing. Pass a JSON file",
        ),
        (("--prompt", "hi", "--tools", "[{"), 1, "--tools must be JSON"),
        (("--prompt", "hi", "--tools", "{}"), 1, "tools must be a list"),
        (("--prompt", "hi", "--chat-template-kwargs", "x=1"), 1, "--chat-template-kwargs must be JSON"),
        (("--prompt", "hi", "--chat-template-kwargs", '{"messages": 1}'), 1, "free of messages"),
        (
            ("--prompt", "hi", "--no-apply-chat-template", "--tools", "[]"),
            1,
            "omitted with --no-apply-chat-template",
        ),
    ],
)
def test_invalid_arguments_are_one_line(
    capsys: pytest.CaptureFixture[str], folder: str, arguments: tuple[str, ...], status: int, message: str
) -> None:
    actual, answer, notes = run_cli(capsys, "generate", folder, *arguments, *GREEDY, "--quiet")
    assert (actual, answer) == (status, "")
    assert message in " ".join(notes.split())


def test_a_chat_with_tools_receives_their_results(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: str, llm: LLM, tmp_path: Path
) -> None:
    saved = tmp_path / "talk.json"
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"Warm?\n/tool 22\n/tool\n/save {saved}\n"))
    arguments = ("chat", folder, *GREEDY, "--tools", json.dumps([SCHEMA]))
    status, text, notes = run_cli(capsys, *arguments)
    assert status == 0
    assert "Usage: /tool TEXT" in notes
    with llm.chat(tools=[weather], top_k=1, max_new_tokens=4) as chat:
        expected = [chat.send("Warm?"), chat.send({"role": "tool", "content": "22"})]
    assert text == "".join(f"{value}\n" for value in expected)
    monkeypatch.setattr(sys, "stdin", io.StringIO("And now?\n"))
    status, text, _ = run_cli(capsys, "chat", folder, *GREEDY, "--resume", str(saved))
    with llm.chat(resume=saved, top_k=1, max_new_tokens=4) as chat:
        assert (status, text) == (0, chat.send("And now?") + "\n")
