"""Tests of `reasoning_budget` with a tiny model whose chat template has reasoning."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from litgpt import LLM
from litgpt.errors import InvalidArgument, UnsupportedOperation
from tests.entrypoints.templated_model import templated_folder, weather

TEMPLATE = """
{%- if tools %}<tool_call>{{ tools | tojson }}{% endif %}
{%- for m in messages %}{{ m.content }}
{% endfor %}
{%- if add_generation_prompt %}{{ '<think>\n' if enable_thinking | default(true) else '' }}{% endif %}"""
GREEDY: dict[str, Any] = {"temperature": 0, "max_new_tokens": 60, "ignore_eos": True}


def folder(path: Path, template: str) -> Path:
    shutil.copytree(templated_folder(), path)
    config = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["chat_template"] = template
    (path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=["native", "torch"])
def llm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    path = folder(tmp_path_factory.mktemp("reasoning") / "model", TEMPLATE)
    with LLM.load(path, distribute=None, quiet=True) as loaded:
        loaded.distribute(accelerator="cpu", engine=request.param, precision="32-true")
        yield loaded


@pytest.mark.parametrize("budget", [0, 1, 7])
@pytest.mark.parametrize("logprobs", [False, True])
def test_the_reasoning_ends_after_the_budget(llm: LLM, budget: int, *, logprobs: bool) -> None:
    free = llm.complete("Hi", **GREEDY)
    assert free.reasoning is not None  # the random model never closes it
    assert free.text == ""
    answer = llm.complete("Hi", reasoning_budget=budget, logprobs=logprobs, **GREEDY)
    assert answer.token_ids[:budget] == free.token_ids[:budget]
    text = llm.generate("Hi", reasoning_budget=budget, **GREEDY)
    before, end, after = text.partition("</think>")
    assert end
    assert before.strip() == (answer.reasoning or "")
    assert after.strip() == answer.text.strip() != ""
    ids = llm.generate("Hi", reasoning_budget=budget, return_as_token_ids=True, **GREEDY)
    assert ids.tolist() == list(answer.token_ids)
    assert len(answer.token_ids) == 60
    reasoning = llm.tokenizer.decode(llm.generate("Hi", **GREEDY, return_as_token_ids=True)[:budget])
    assert before == reasoning
    assert "".join(llm.generate("Hi", stream=True, reasoning_budget=budget, **GREEDY)) == text


def test_a_budget_that_is_not_reached_changes_nothing(llm: LLM) -> None:
    assert llm.complete("Hi", reasoning_budget=60, **GREEDY) == llm.complete("Hi", **GREEDY)
    closed: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}, **GREEDY}
    assert llm.complete("Hi", reasoning_budget=0, **closed) == llm.complete("Hi", **closed)


def test_prompts_that_are_rendered_elsewhere_have_it_too(llm: LLM) -> None:
    raw: dict[str, Any] = {"apply_chat_template": False, **GREEDY}
    free = llm.generate("Hi\n<think>\n", **raw)
    text = llm.generate("Hi\n<think>\n", reasoning_budget=3, **raw)
    assert free.startswith(text.partition("</think>")[0])
    assert "</think>" in text
    assert "</think>" not in free


def test_several_answers_and_a_chat_have_it(llm: LLM) -> None:
    several = llm.complete(["Hi", "You"], reasoning_budget=4, n=2, **GREEDY)
    assert all(answer.reasoning and answer.text for answers in several for answer in answers)
    with llm.chat(reasoning_budget=4, **GREEDY) as chat:
        first = chat.complete("Hi")
        assert (first.reasoning, first.text) == (several[0][0].reasoning, several[0][0].text)
        assert chat.complete("Hi", reasoning_budget=60).text == ""


def test_a_constraint_begins_after_it(llm: LLM) -> None:
    pytest.importorskip("llguidance")
    options: dict[str, Any] = {"temperature": 0, "reasoning_budget": 5}
    answer = llm.complete("Hi", choices=["yes", "no"], max_new_tokens=60, **options)
    assert answer.text in ("yes", "no")
    assert answer.finish_reason == "stop"
    assert answer.reasoning
    assert llm.generate("Hi", choices=["yes", "no"], max_new_tokens=60, **options) == answer.text


def test_tools_are_not_affected(llm: LLM) -> None:
    answer = llm.complete("Hi", tools=[weather], reasoning_budget=5, **GREEDY)
    assert answer.reasoning
    assert answer.text


@pytest.mark.parametrize("budget", [-1, 1.5, "a"])
def test_a_wrong_budget_is_an_error(llm: LLM, budget: Any) -> None:
    with pytest.raises(InvalidArgument, match="reasoning_budget must be"):
        llm.generate("Hi", reasoning_budget=budget)


def test_a_model_without_marks_is_an_error_before_anything_is_computed() -> None:
    with LLM.load(templated_folder(), quiet=True) as llm:
        with pytest.raises(UnsupportedOperation, match="no marks of reasoning"):
            llm.complete("Hi", reasoning_budget=5, stream=True)
        with llm.chat(reasoning_budget=5) as chat, pytest.raises(UnsupportedOperation, match="no marks"):
            chat.send("Hi")


def test_reasoning_in_a_channel_ends_after_the_budget(tmp_path: Path) -> None:
    header = "<|start|>assistant<|channel|>analysis<|message|>"
    path = folder(tmp_path / "model", "{% for m in messages %}{{ m.content }}{% endfor %}" + header)
    with LLM.load(path, quiet=True) as llm:
        free = llm.complete("Hi", **GREEDY)
        answer = llm.complete("Hi", reasoning_budget=5, **GREEDY)
        end = llm.tokenizer.encode("<|end|>", bos=False).tolist()
    assert end[0] not in free.token_ids
    assert (free.text, answer.token_ids[:5]) == ("", free.token_ids[:5])
    assert end[0] in answer.token_ids[5:9]  # a character that has begun is completed
    assert answer.reasoning
    assert answer.text
