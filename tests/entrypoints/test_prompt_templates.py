"""Tests of prompts: already rendered, with tools and variables, and unfinished."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from litgpt import LLM
from litgpt.application.render_prompt import PromptWarning
from litgpt.domain.chat.styles import find_style
from litgpt.domain.errors import InvalidArgument, UnsupportedModel, UnsupportedPrompt, WrongType
from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.templated_model import CALL, templated_folder, weather

pytestmark = pytest.mark.usefixtures("one_thread")

TALK: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "Warm?"}], "name": "Ada"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "22", "tool_call_id": "1"},
]
GREEDY: dict[str, Any] = {"top_k": 1, "max_new_tokens": 4}


@pytest.fixture(scope="module")
def folder() -> Path:
    return templated_folder()


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[LLM]:
    with LLM.load(folder, distribute=None, quiet=True) as loaded:
        loaded.distribute(accelerator="cpu", precision="32-true")
        yield loaded


@pytest.fixture
def llm(shared: LLM) -> LLM:
    shared.prompt_style = None
    return shared


@pytest.fixture(scope="module")
def rendered(folder: Path) -> Any:
    """Return the text that transformers renders."""
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def render(messages: list[dict[str, Any]], **options: Any) -> str:
        settings = {"add_generation_prompt": "continue_final_message" not in options, **options}
        return str(tokenizer.apply_chat_template(messages, tokenize=False, **settings))

    return render


def answer(llm: LLM, prompt: Any, **options: Any) -> tuple[int, str]:
    actual = llm.complete(prompt, **GREEDY, **options)
    return actual.prompt_tokens, actual.text


def test_a_rendered_prompt_is_sent_as_it_is(llm: LLM, rendered: Any) -> None:
    ready = rendered([{"role": "user", "content": "hi"}])
    assert answer(llm, ready, apply_chat_template=False) == answer(llm, "hi")
    assert answer(llm, ready, apply_chat_template=False)[0] == len(llm.tokenizer.encode(ready, bos=False))
    assert llm.generate(ready, apply_chat_template=False, **GREEDY) == llm.generate("hi", **GREEDY)
    assert (
        llm.generate([ready, ready], apply_chat_template=False, **GREEDY)
        == [llm.generate("hi", **GREEDY)] * 2
    )
    with llm.chat(apply_chat_template=False, top_k=1, max_new_tokens=4) as chat:
        assert chat.send(ready) == llm.generate("hi", **GREEDY)


def test_bos_occurs_once(llm: LLM) -> None:
    without, with_it = (answer(llm, text, apply_chat_template=False) for text in ("hi", "<|begin|>hi"))
    assert without == with_it
    assert without[0] == 3


@pytest.mark.parametrize("ready", ["<|begin|>user\nhi<|end|>\n", " \n<|begin|>user\n", "user\nhi<|end|>\n"])
def test_a_prompt_that_is_rendered_already_is_noticed(llm: LLM, ready: str) -> None:
    with pytest.warns(PromptWarning, match="apply_chat_template=False") as caught:
        llm.complete(ready, **GREEDY)
    assert Path(caught[0].filename) == Path(__file__)
    with pytest.warns(PromptWarning, match="its chat template"):
        llm.generate(["fine", ready], **GREEDY)
    with pytest.warns(PromptWarning), llm.chat(max_new_tokens=1) as chat:
        chat.send(ready)


def test_unrendered_prompts_raise_no_warning(llm: LLM) -> None:
    llm.generate(["hi", "What is <|begin|>?", "userland"], **GREEDY)
    llm.generate([{"role": "user", "content": "<|begin|> is a token."}], **GREEDY)
    llm.generate("<|begin|>user\nhi", apply_chat_template=False, **GREEDY)
    llm.prompt_style = "default"
    llm.generate("<|begin|>user\nhi", **GREEDY)


def test_a_prompt_in_the_models_style_is_noticed_too(llm: LLM) -> None:
    llm.prompt_style = "alpaca"
    with pytest.warns(PromptWarning, match="prompt style alpaca"):
        llm.generate(find_style("alpaca").render([*_user("hi")]), **GREEDY)


def _user(text: str) -> Any:
    from litgpt.domain.chat.messages import Message

    return (Message("user", text),)


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("hi", {"tools": [weather]}),
        ("hi", {"chat_template_kwargs": {"enable_thinking": False}}),
        ("hi", {"continue_final_message": True}),
        ([{"role": "system", "content": "hi"}], {}),
        ([{"role": "user", "content": "hi", "name": "Ada"}], {}),
        ("hi", {"sys_prompt": "Be brief."}),
        ("", {}),
    ],
)
def test_template_options_are_refused_with_a_raw_prompt(
    llm: LLM, prompt: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgument):
        llm.generate(prompt, apply_chat_template=False, **options)


def test_a_flag_that_is_none_is_refused(llm: LLM) -> None:
    with pytest.raises(WrongType, match="apply_chat_template"):
        llm.generate("hi", apply_chat_template="no")


def test_the_prompt_style_can_be_set(llm: LLM, tmp_path: Path) -> None:
    templated, raw = answer(llm, "hi"), answer(llm, "hi", apply_chat_template=False)
    llm.prompt_style = "default"
    assert answer(llm, "hi") == raw
    llm.prompt_style = find_style("alpaca")
    assert answer(llm, "hi")[0] > 100
    with llm.chat(max_new_tokens=1) as chat:
        assert chat.complete("hi").prompt_tokens > 100
    llm.save(tmp_path)
    assert LLM.load(tmp_path, distribute=None, quiet=True).prompt_style == find_style("alpaca")
    llm.prompt_style = None
    assert answer(llm, "hi") == templated
    llm.save(tmp_path)
    assert LLM.load(tmp_path, distribute=None, quiet=True).prompt_style is None


def test_stop_strings_and_end_tokens_follow_the_style(llm: LLM) -> None:
    before = llm._loaded.stop_strings, llm._loaded.stop_token_ids
    llm.prompt_style = "llama3"
    assert "<|eot_id|>" in llm._loaded.stop_strings
    llm.prompt_style = None
    assert (llm._loaded.stop_strings, llm._loaded.stop_token_ids) == before


def test_a_style_that_does_not_exist_is_refused_with_what_is_similar(llm: LLM) -> None:
    with pytest.raises(UnsupportedModel, match=r"chatlm is not supported: .* Did you mean chatml"):
        llm.prompt_style = "chatlm"
    with pytest.raises(WrongType, match="prompt_style"):
        llm.prompt_style = 3  # type: ignore[assignment]
    assert llm.prompt_style is None
    with LLM.load(tiny_folder("llama"), distribute=None, quiet=True) as without:
        with pytest.raises(InvalidArgument, match="no chat template"):
            without.prompt_style = None
        assert without.prompt_style == find_style("default")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tools": [weather]},
        {"chat_template_kwargs": {"enable_thinking": False, "documents": [{"title": "A", "text": "B"}]}},
    ],
)
@pytest.mark.parametrize("messages", [TALK[:1], TALK])
def test_tools_and_variables_reach_the_template_from_everywhere(
    llm: LLM, rendered: Any, messages: list[dict[str, Any]], options: dict[str, Any]
) -> None:
    flat = {name: value for name, value in options.items() if name != "chat_template_kwargs"}
    ready = rendered(messages, **flat, **options.get("chat_template_kwargs", {}))
    expected = answer(llm, ready, apply_chat_template=False)
    assert answer(llm, messages, **options) == expected
    assert llm.generate([messages, messages], **GREEDY, **options) == [expected[1]] * 2
    text, figures = llm.benchmark(prompt=messages, **GREEDY, **options)
    assert text == expected[1]
    assert figures
    with llm.chat(top_k=1, max_new_tokens=4, **options) as chat:
        assert chat.send(messages) == expected[1]
    with llm.chat(top_k=1, max_new_tokens=4) as chat:
        assert chat.send(messages, **options) == expected[1]


def test_an_unfinished_message_is_continued(llm: LLM, rendered: Any) -> None:
    started = [{"role": "user", "content": "Warm?"}, {"role": "assistant", "content": "It is "}]
    ready = rendered(started, continue_final_message=True)
    assert ready.endswith("It is ")
    expected = answer(llm, ready, apply_chat_template=False)
    assert answer(llm, started, continue_final_message=True) == expected
    with llm.chat(top_k=1, max_new_tokens=4) as chat:
        assert chat.send(started, continue_final_message=True) == expected[1]
        assert [message.content for message in chat.messages] == ["Warm?", "It is " + expected[1]]


def test_a_chat_sends_tool_results_and_is_saved_with_its_tools(
    llm: LLM, tmp_path: Path, rendered: Any
) -> None:
    options: dict[str, Any] = {"top_k": 1, "max_new_tokens": 4}
    with llm.chat(tools=[weather], chat_template_kwargs={"enable_thinking": False}, **options) as chat:
        chat.send(TALK[0])
        chat.send({"role": "tool", "content": "22", "tool_call_id": "1"})
        chat.save(tmp_path / "chat.json")
        messages = [message.as_dict() for message in chat.messages]
        expected = chat.complete("And tomorrow?")
    assert [value["role"] for value in messages] == ["user", "assistant", "tool", "assistant"]
    ready = rendered(
        [*messages, {"role": "user", "content": "And tomorrow?"}], tools=[weather], enable_thinking=False
    )
    assert expected.prompt_tokens == len(llm.tokenizer.encode(ready, bos=False))
    with llm.chat(resume=tmp_path / "chat.json", **options) as chat:
        assert [message.as_dict() for message in chat.messages] == messages
        second = chat.complete("And tomorrow?")
    assert (second.text, second.prompt_tokens) == (expected.text, expected.prompt_tokens)
    with llm.chat(resume=tmp_path / "chat.json", tools=None, chat_template_kwargs=None, **options) as chat:
        assert chat.complete("And tomorrow?").prompt_tokens < expected.prompt_tokens


def test_a_chat_that_an_earlier_version_saved_is_resumed(llm: LLM, tmp_path: Path) -> None:
    saved = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}
    (tmp_path / "old.json").write_text(json.dumps(saved), encoding="utf-8")
    with llm.chat(resume=tmp_path / "old.json") as chat:
        assert [message.as_dict() for message in chat.messages] == saved["messages"]


def test_a_raw_chat_continues_its_text(llm: LLM) -> None:
    with llm.chat(apply_chat_template=False, top_k=1, max_new_tokens=4) as chat:
        first = chat.complete("Once")
        second = chat.complete(" upon")
    assert first.prompt_tokens == len("_Once")  # with the beginning token
    assert second.prompt_tokens == len("_Once") + first.completion_tokens + len(" upon")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tools": [str]}, WrongType),
        ({"tools": [lambda x: x]}, InvalidArgument),
        ({"chat_template_kwargs": {"messages": []}}, InvalidArgument),
        ({"chat_template_kwargs": "{}"}, WrongType),
        ({"continue_final_message": 3}, WrongType),
        ({"continue_final_message": "reasoning_content"}, UnsupportedPrompt),
    ],
)
def test_unsupported_prompts_are_refused(llm: LLM, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        llm.generate("hi", **options)
    with pytest.raises(error), llm.chat() as chat:
        chat.send("hi", **options)


def test_a_prompt_style_refuses_tools_and_variables(llm: LLM) -> None:
    llm.prompt_style = "llama3"
    for options in ({"tools": [weather]}, {"chat_template_kwargs": {"enable_thinking": False}}):
        with pytest.raises(UnsupportedPrompt, match="need a chat template"):
            llm.generate("hi", **options)
    with pytest.raises(UnsupportedPrompt, match="role 'tool'"):
        llm.generate(TALK[2:])


def test_a_model_without_a_template_raises_no_warning() -> None:
    with LLM.load(tiny_folder("llama"), distribute=None, quiet=True) as without, warnings.catch_warnings():
        warnings.simplefilter("error")
        without.distribute(accelerator="cpu", precision="32-true")
        without.generate("<|begin|>hi", max_new_tokens=1)
