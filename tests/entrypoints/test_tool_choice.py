"""Tests of `tool_choice` and `parallel_tool_calls` with real models."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from litgpt import LLM
from litgpt.domain.tool_calls.answer_syntax import answer_syntax
from litgpt.domain.tool_calls.tool_choice import parse_tool_choice
from litgpt.errors import InvalidArgument, MissingArgument, NotInstalled, WrongType
from tests.architecture.repository import ROOT
from tests.entrypoints.templated_model import TEMPLATE, templated_folder

pytest.importorskip("llguidance")

DOCUMENT = (ROOT / "docs" / "tool-calls.md").read_text(encoding="utf-8")
OPTIONS: dict[str, Any] = {"temperature": 2.0, "top_k": None, "seed": 1, "max_new_tokens": 400}


def weather(city: Literal["Rome", "Oslo"], days: Literal[1, 2] = 1) -> str:
    """Return the weather.

    Args:
        city: Where.
        days: For how long.
    """
    return f"{city}: warm for {days}"


def now() -> str:
    """Return the time."""
    return "noon"


TOOLS: list[Callable[..., Any]] = [weather, now]


@pytest.fixture(scope="module")
def smollm2() -> Iterator[LLM]:
    with LLM.load("smollm2", quiet=True) as llm:
        yield llm


@pytest.fixture(scope="module")
def hermes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with random weights, whose template has the marks of Hermes and of reasoning."""
    folder = tmp_path_factory.mktemp("hermes") / "model"
    shutil.copytree(templated_folder(), folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(
        json.dumps(config | {"chat_template": f"{{# <tool_call> <think> #}}{TEMPLATE}"}), encoding="utf-8"
    )
    return folder


@pytest.mark.parametrize("choice", ["required", "now"])
@pytest.mark.parametrize("parallel", [True, False])
def test_a_required_call_is_one_of_the_tools(smollm2: LLM, choice: str, *, parallel: bool) -> None:
    completions = smollm2.complete(
        "Hi", tools=TOOLS, tool_choice=choice, parallel_tool_calls=parallel, n=4, **OPTIONS
    )
    for completion in completions:
        assert completion.finish_reason in ("tool_calls", "length")
        if completion.finish_reason == "length":
            continue
        calls = completion.tool_calls
        assert completion.text == ""
        assert len(calls) == 1 if not parallel else calls
        for call in calls:
            assert call.name == "now" if choice == "now" else call.name in ("weather", "now")
            assert call.arguments.get("city", "Rome") in ("Rome", "Oslo")
            assert call.arguments.get("days", 1) in (1, 2)
    assert any(completion.finish_reason == "tool_calls" for completion in completions)


def test_both_engines_call_the_same(hermes: Path) -> None:
    answers = []
    for engine in ("native", "torch"):
        with LLM.load(hermes, distribute=None, quiet=True) as llm:
            llm.distribute(accelerator="cpu", engine=engine, precision="32-true")
            options = {**OPTIONS, "tools": TOOLS, "parallel_tool_calls": False}
            required = llm.complete(["Hi", "Ho"], tool_choice="required", **options)
            free = llm.complete("Hi", **options)
            answers.append([completion.token_ids for completion in (*required, free)])
            for completion in required:
                assert completion.finish_reason == "tool_calls"
                (call,) = completion.tool_calls
                assert re.fullmatch(r"<tool_call>\s*\{.*\}\s*</tool_call>", call.raw_text, re.DOTALL)
    assert answers[0] == answers[1]


def test_reasoning_before_a_required_call_is_free(hermes: Path) -> None:
    with LLM.load(hermes, quiet=True) as llm:
        prompt = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "<think>"}]
        completion = llm.complete(
            prompt,
            tools=TOOLS,
            tool_choice="weather",
            parallel_tool_calls=False,
            continue_final_message=True,
            reasoning_budget=10,
            **OPTIONS,
        )
    assert completion.reasoning
    assert [call.name for call in completion.tool_calls] == ["weather"]
    assert completion.text == ""


def test_the_stream_of_a_required_call_is_the_completion(smollm2: LLM) -> None:
    options: dict[str, Any] = {
        **OPTIONS,
        "tools": TOOLS,
        "tool_choice": "weather",
        "parallel_tool_calls": False,
    }
    chunks = list(smollm2.complete("Hi", stream=True, **options))
    completion = chunks[-1].completion
    assert completion is not None
    names = [type(delta).__name__ for chunk in chunks for delta in chunk.deltas]
    assert names[0] == "ToolCallStart"
    assert names[-1] == "ToolCallEnd"
    assert completion == smollm2.complete("Hi", **options)


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_the_tools_of_a_call_can_be_restricted(mode: str) -> None:
    allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": "now"}}]}
    tools = [{"name": "now"}, {"name": "weather"}]
    choice = parse_tool_choice(
        {"type": "allowed_tools", "allowed_tools": allowed}, parallel=True, tools=tools
    )
    assert (choice.mode, choice.names) == (mode, ("now",))
    syntax = answer_syntax("<tool_call>", "Hi", tools, choice=choice)
    spec = None if syntax is None else syntax.call_spec()
    assert spec is not None
    assert [tool.name for tool in spec.tools] == ["now"]


def test_tools_are_not_shown_if_none_may_be_called(smollm2: LLM) -> None:
    plain = smollm2.complete("Is it warm in Rome?", temperature=0)
    hidden = smollm2.complete("Is it warm in Rome?", tools=TOOLS, tool_choice="none", temperature=0)
    assert (hidden.text, hidden.prompt_tokens) == (plain.text, plain.prompt_tokens)


def test_a_chat_is_required_to_call_in_the_first_round_only(smollm2: LLM) -> None:
    with smollm2.chat(tools=TOOLS, max_tool_rounds=1, temperature=0, max_new_tokens=60) as chat:
        chat.send("Is it warm in Rome?", tool_choice="weather", parallel_tool_calls=False)
        roles = [message.role for message in chat.messages]
        assert roles == ["user", "assistant", "tool", "assistant"]
        assert chat.messages[1].fields["tool_calls"][0]["function"]["name"] == "weather"
        assert re.fullmatch("(Rome|Oslo): warm for [12]", chat.messages[2].text)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tool_choice": "required"}, InvalidArgument, "without tools"),
        ({"tool_choice": "required", "tools": []}, InvalidArgument, "without tools"),
        ({"tool_choice": "other", "tools": TOOLS}, InvalidArgument, "weather.*now"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "other"}}, "tools": TOOLS},
            InvalidArgument,
            "other",
        ),
        ({"tool_choice": {"type": "function"}, "tools": TOOLS}, WrongType, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools"}, "tools": TOOLS}, WrongType, "tool_choice"),
        ({"tool_choice": 1, "tools": TOOLS}, WrongType, "tool_choice"),
        ({"parallel_tool_calls": 1, "tools": TOOLS}, WrongType, "parallel_tool_calls"),
        (
            {"tool_choice": "required", "tools": TOOLS, "choices": ["a"]},
            InvalidArgument,
            "tool_choice.*choices",
        ),
        (
            {"tool_choice": "required", "tools": TOOLS, "ignore_eos": True},
            MissingArgument,
            "tool_choice.*ignore_eos",
        ),
    ],
)
def test_wrong_choices_are_errors(
    smollm2: LLM, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        smollm2.complete("Hi", **options)
    with pytest.raises(error, match=message), smollm2.chat(**options) as chat:
        chat.send("Hi")


def test_only_a_required_call_needs_the_library(smollm2: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    assert smollm2.complete("Hi", tools=TOOLS, max_new_tokens=2).token_ids
    with pytest.raises(NotInstalled, match=r"tool_choice.*litgpt\[structured\]"):
        smollm2.complete("Hi", tools=TOOLS, tool_choice="required")


def test_the_example_of_the_document_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    assert blocks
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)  # noqa: S102 - from the documentation
