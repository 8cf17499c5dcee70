"""Tests of the signatures and help of public functions, and of their consistency."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from litgpt import LLM, Tokenizer
from litgpt.chat import CHAT_DEFAULT, Chat
from litgpt.data import JSON, Alpaca, Alpaca2k, DataModule, TextFiles
from litgpt.domain.chat.google_docstring import parse_docstring
from litgpt.domain.errors import LitGPTError
from litgpt.domain.training.config import CONFIG_FIELDS
from litgpt.domain.validation.call_signatures import InvalidCall
from litgpt.llm_parts.generate_kwargs import SHARED_OPTIONS
from litgpt.training import TrainConfig, train
from tests.adapters.tiny_models import tiny_folder

OURS = {
    f"{owner.__name__}.{name}": member
    for owner in (LLM, Chat)
    for name, member in inspect.getmembers(owner, callable)
    if not name.startswith("_") and getattr(member, "__module__", "").startswith("litgpt.")
}
PUBLIC: dict[str, Callable[..., Any]] = {
    **OURS,
    "LLM": LLM.__init__,
    "train": train,
    "TrainConfig": TrainConfig.__init__,
    **{value.__name__: value.__init__ for value in (DataModule, JSON, Alpaca, Alpaca2k, TextFiles)},
}


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(function).parameters)
    parameters.pop("self", None)
    return parameters


def test_all_functions_that_users_call_are_looked_at() -> None:
    assert {
        "LLM.load",
        "LLM.generate",
        "LLM.benchmark",
        "LLM.add_lora",
        "LLM.save",
        "Chat.send",
    } <= OURS.keys()


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_no_parameter_hides_others_and_each_has_a_type(name: str) -> None:
    for parameter in parameters(PUBLIC[name]).values():
        assert parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        assert parameter.annotation is not inspect.Parameter.empty


@pytest.mark.parametrize("name", sorted(PUBLIC.keys() - {"LLM"}))
def test_each_parameter_is_documented(name: str) -> None:
    function = PUBLIC[name]
    owner = {
        "TrainConfig": TrainConfig,
        "JSON": JSON,
        "Alpaca": Alpaca,
        "Alpaca2k": Alpaca2k,
        "TextFiles": TextFiles,
    }
    owner |= {"DataModule": DataModule}
    doc = inspect.getdoc(owner.get(name, function)) or ""
    described = parse_docstring(doc).arguments
    assert list(parameters(function)) == list(described)
    assert all(len(text) > 5 for text in described.values())


def test_generate_shares_its_options_with_other_functions() -> None:
    generate, described = parameters(LLM.generate), SHARED_OPTIONS.descriptions
    own = parse_docstring(inspect.getdoc(LLM.generate) or "").arguments
    for name, lines in described.items():
        if name not in ("logprobs", "top_logprobs", "schema"):
            assert own[name] == " ".join(line.strip() for line in lines).partition(": ")[2]
    assert described.keys() <= generate.keys()


@pytest.mark.parametrize("function", [LLM.complete, LLM.chat, LLM.benchmark])
def test_functions_that_generate_take_the_same_options_with_the_same_defaults(
    function: Callable[..., Any],
) -> None:
    generate, other = parameters(LLM.generate), parameters(function)
    only_of_a_chat = {"resume", "num_iterations", "max_tool_rounds"}
    assert other.keys() - only_of_a_chat <= generate.keys()
    missing = {
        LLM.chat: {"prompt", "stream", "return_as_token_ids", "n"},
        LLM.complete: {"return_as_token_ids"},
    }
    assert generate.keys() - other.keys() == missing.get(function, set())
    for name in generate.keys() & other.keys():
        assert other[name].annotation == generate[name].annotation
        if (function, name) != (LLM.chat, "max_new_tokens"):  # a chat's answers are as long as they are
            assert other[name].default == generate[name].default


@pytest.mark.parametrize("function", [Chat.send, Chat.stream, Chat.events, Chat.complete])
def test_a_chat_takes_the_options_of_generate_for_one_answer(function: Callable[..., Any]) -> None:
    generate, say = parameters(LLM.generate), parameters(function)
    assert say.keys() - generate.keys() == {"message"}
    left_out = {
        Chat.send: {"prompt", "n"},
        Chat.stream: {"prompt", "stream", "return_as_token_ids", "n", "schema"}
        | {"logprobs", "top_logprobs", "prompt_logprobs"},
        Chat.events: {"prompt", "stream", "return_as_token_ids", "n"},
        Chat.complete: {"prompt", "stream", "return_as_token_ids", "n"},
    }
    assert generate.keys() - say.keys() == left_out[function]
    for name in generate.keys() & say.keys():
        assert say[name].annotation == generate[name].annotation
        assert say[name].default in (CHAT_DEFAULT, generate[name].default)


def test_the_parameters_of_train_config_have_the_types_of_its_attributes_and_the_commands_help() -> None:
    described = parse_docstring(inspect.getdoc(TrainConfig) or "").arguments
    for name, parameter in parameters(TrainConfig.__init__).items():
        assert parameter.annotation == CONFIG_FIELDS[name].type
        assert described[name].split() == CONFIG_FIELDS[name].metadata["help"].split()


@pytest.fixture(scope="module")
def llm() -> LLM:
    return LLM.load(tiny_folder("llama"), quiet=True)


CALLS: list[tuple[Callable[[Any], object], str]] = [
    (lambda llm: llm.benchmark("hi"), r"LLM\.benchmark\(\) needs prompt=…, by name"),
    (
        lambda llm: llm.benchmark("hi", prompt="hi"),
        r"num_iterations must be a positive integer \(the prompt is",
    ),
    (lambda llm: llm.benchmark(5, "hi"), r"Pass others by name: prompt=…"),
    (lambda llm: llm.benchmark(2.5, prompt="hi"), r"num_iterations must be a positive integer"),
    (lambda llm: llm.benchmark(0, prompt="hi"), r"num_iterations must be a positive integer"),
    (lambda llm: llm.generate(), r"LLM\.generate\(\) needs the argument 'prompt'"),
    (lambda llm: llm.generate("hi", max_tokens=3), r"Did you mean 'max_new_tokens'\?"),
    (lambda llm: llm.generate("hi", "sys", 5, 1.0, 5, 1.0, False, False, 3), r"takes at most 8 \(prompt, "),
    (lambda llm: llm.complete("hi", temprature=1), r"Did you mean 'temperature'\?"),
    (lambda llm: llm.chat(system_prompt="x"), r"Did you mean 'sys_prompt'\?"),
    (lambda llm: llm.chat().send(), r"Chat\.send\(\) needs the argument 'message'"),
    (lambda llm: llm.chat().send("hi", max_tokens=3), r"Did you mean 'max_new_tokens'\?"),
    (lambda llm: llm.chat().stream("hi", stream=True), r"Chat\.stream\(\) has no argument 'stream'"),
    (lambda llm: llm.chat().save(), r"Chat\.save\(\) needs the argument 'path'"),
    (lambda llm: llm.save(), r"LLM\.save\(\) needs the argument 'out_dir'"),
    (lambda llm: llm.add_lora(r=8), r"LLM\.add_lora\(\) has no argument 'r'"),
    (lambda llm: llm.load_adapter(), r"LLM\.load_adapter\(\) needs the argument 'path'"),
    (lambda llm: llm.set_adapter(), r"LLM\.set_adapter\(\) needs the argument 'name'"),
    (lambda llm: llm.distribute(quant="int8"), r"Did you mean 'quantize'\?"),
    (lambda llm: llm.trainer_setup(ckpt="x"), r"has no argument 'ckpt'\. It takes trainer_ckpt, quantize\."),
    (lambda _: LLM.load(), r"LLM\.load\(\) needs the argument 'model'"),  # type: ignore[call-arg]
    (lambda _: LLM("smollm2"), r"LLM\(\) .* Models are loaded with LLM\.load\('smollm2'\)"),  # type: ignore[call-arg,arg-type]
    (lambda _: Tokenizer(), r"Tokenizer\(\) needs the argument 'checkpoint'"),  # type: ignore[call-arg]
    (lambda _: train(), r"train\(\) needs the argument 'config'"),  # type: ignore[call-arg]
    (lambda _: train("smollm2"), r"config must be a TrainConfig"),  # type: ignore[arg-type]
    (lambda _: TrainConfig(), r"TrainConfig\(\) needs model=…, data=…, out_dir=…, by name"),
    (lambda _: TrainConfig("smollm2"), r"TrainConfig\(\) takes none of its arguments by position, not 1"),  # type: ignore[call-arg]
    (lambda _: JSON(), r"JSON\(\) needs the argument 'json_path'"),  # type: ignore[call-arg]
    (lambda _: JSON("x.json", prompt_stile="x"), r"Did you mean 'prompt_style'\?"),  # type: ignore[call-arg]
    (lambda _: TextFiles(), r"TextFiles\(\) needs the argument 'train_data_path'"),  # type: ignore[call-arg]
]


@pytest.mark.parametrize(("call", "says"), CALLS)
def test_a_missing_or_misplaced_argument_is_an_error_with_the_expected_ones(
    llm: LLM, call: Callable[[Any], object], says: str
) -> None:
    with pytest.raises(LitGPTError, match=says) as caught:
        call(llm)
    assert isinstance(caught.value, (InvalidCall, ValueError))
