"""Tests of the options of a chat's calls: those of `generate`, for one answer, with the same checks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from litgpt import LLM
from litgpt.domain.errors import InvalidArgument, LitGPTError
from litgpt.domain.generation.request import Completion
from tests.adapters.tiny_models import tiny_folder

OPTIONS: dict[str, Any] = {"max_new_tokens": 6, "temperature": 1.0, "top_k": None, "seed": 7}


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    folder: Path = tmp_path_factory.mktemp("chat")
    for path in tiny_folder("llama").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "chat_template.jinja").write_text(
        "{% if tools %}{{ tools | length }} {% endif %}{% if loud %}LOUD {% endif %}"
        "{% for m in messages %}{{ m.role + ':' + m.content + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
    )
    with LLM.load(folder, distribute=None, quiet=True) as loaded:
        loaded.distribute(accelerator="cpu", precision="32-true")
        yield loaded


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_new_tokens": 3},
        {"temperature": 0.0},
        {"top_k": 1},
        {"top_p": 0.0},
        {"seed": 8},
        {"stop": ["a", "e", "i"]},
        {"chat_template_kwargs": {"loud": True}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        {"apply_chat_template": False},
        {"parse_special_tokens": True},
        {"sys_prompt": "Be brief."},
    ],
)
def test_the_first_answer_is_that_of_generate_with_the_same_options(
    llm: LLM, options: dict[str, Any]
) -> None:
    settings = OPTIONS | options
    expected = llm.complete("Hi<|end|>", **settings)
    assert llm.chat().complete("Hi<|end|>", **settings) == expected
    assert llm.chat().send("Hi<|end|>", **settings) == expected.text == llm.generate("Hi<|end|>", **settings)
    assert "".join(llm.chat().stream("Hi<|end|>", **settings)) == expected.text
    assert "".join(llm.chat().send("Hi<|end|>", stream=True, **settings)) == expected.text
    ids = llm.chat().send("Hi<|end|>", return_as_token_ids=True, **settings)
    assert ids.tolist() == list(expected.token_ids)
    assert ids.dtype == torch.long
    streamed = list(llm.chat().send("Hi<|end|>", return_as_token_ids=True, stream=True, **settings))
    assert torch.cat(streamed).tolist() == ids.tolist()


def test_unset_options_default_to_the_chats_and_then_to_generates(llm: LLM) -> None:
    begun = llm.chat(**OPTIONS)
    assert begun.send("Hi") == llm.generate("Hi", **OPTIONS)
    assert len(begun.complete("Go on", max_new_tokens=2).token_ids) == 2
    assert len(begun.complete("Go on").token_ids) == OPTIONS["max_new_tokens"]
    assert llm.chat().sampling == llm._loaded.sampling_params
    assert begun.sampling.seed == 7


def test_log_probabilities_come_with_a_completion(llm: LLM) -> None:
    expected: Any = llm.generate("Hi", logprobs=True, **OPTIONS)
    answer = llm.chat().send("Hi", logprobs=True, **OPTIONS)
    assert isinstance(answer, Completion)
    assert answer.logprobs == pytest.approx(expected.logprobs)
    *_, last = llm.chat().send("Hi", logprobs=True, stream=True, **OPTIONS)
    assert last.completion == answer
    assert llm.chat().complete("Hi", logprobs=True, **OPTIONS).logprobs
    assert llm.chat(logprobs=True, **OPTIONS).complete("Hi").logprobs
    assert llm.chat(logprobs=True, **OPTIONS).send("Hi") == answer.text


def test_options_of_an_answer_do_not_affect_the_next(llm: LLM) -> None:
    first, other = llm.chat(**OPTIONS), llm.chat(**OPTIONS)
    first.send("Hi", chat_template_kwargs={"loud": True}, temperature=0.0)
    other.send("Hi", chat_template_kwargs={"loud": True}, temperature=0.0)
    assert first.complete("More") == other.complete("More")
    assert [message.role for message in first.messages] == ["user", "assistant"] * 2


def test_a_system_prompt_begins_a_conversation_and_stays(llm: LLM) -> None:
    chat, begun = llm.chat(**OPTIONS), llm.chat("Be brief.", **OPTIONS)
    assert chat.send("Hi", sys_prompt="Be brief.") == begun.send("Hi")
    assert chat.messages == begun.messages
    assert chat.send("More") == begun.send("More")
    with pytest.raises(
        InvalidArgument, match="sys_prompt must be None when the messages begin with a system"
    ):
        chat.send("More", sys_prompt="Be long.")
    assert chat.messages == begun.messages


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": -1},
        {"temperature": "hot"},
        {"temperature": -1.0},
        {"top_k": 0},
        {"top_p": 2},
        {"seed": -1},
        {"stop": 3},
        {"stop": [""]},
        {"logprobs": "yes"},
        {"tools": "search"},
        {"chat_template_kwargs": [1]},
        {"continue_final_message": 3},
        {"apply_chat_template": "no"},
        {"parse_special_tokens": "no"},
        {"sys_prompt": 3},
    ],
)
def test_a_chat_refuses_invalid_options_like_generate(llm: LLM, wrong: dict[str, Any]) -> None:
    with pytest.raises(LitGPTError) as refused:
        llm.generate("Hi", **wrong)
    chat = llm.chat()
    calls: list[Any] = [chat.send, chat.events, chat.complete]
    for say in calls if "logprobs" in wrong else [*calls, chat.stream]:
        with pytest.raises(type(refused.value)) as also:
            say("Hi", **wrong)
        assert str(also.value) == str(refused.value)
    assert chat.messages == []
