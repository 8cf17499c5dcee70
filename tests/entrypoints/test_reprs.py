"""Tests of the repr of every public object: one short line, for any content."""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from torch import nn

import litgpt
import litgpt.data
from litgpt import LLM, ContinuationScore, LitGPTError, PromptStyle, TextLogprobs, Tokenizer
from litgpt.chat import Chat, SavedChat
from litgpt.domain import errors
from litgpt.domain.chat.messages import Message
from litgpt.domain.chat.styles import find_style
from litgpt.domain.chat.template_options import TemplateOptions
from litgpt.domain.formatting.bounded_text import MESSAGE_LIMIT, REPR_LIMIT, short_repr
from litgpt.domain.generation import errors as generation_errors
from litgpt.domain.generation.request import Completion, CompletionChunk, GenerationRequest
from litgpt.domain.reference import ModelReference
from litgpt.domain.training import errors as training_errors
from litgpt.training import TrainConfig, TrainResult
from tests.adapters.tiny_models import tiny_folder

SECRET = "hf_plantedsecret123456"  # noqa: S105 - a test looks for it
LONG = "two lines\n" * 100_000

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM.load(str(tiny_folder("llama")), access_token=SECRET, quiet=True) as loaded:
        loaded.prompt_style = "chatml"
        loaded.add_lora(rank=2)
        for number in range(30):
            loaded.add_lora(rank=1, name=f"adapter-{number}-" + "x" * 30)
        yield loaded


@pytest.fixture(scope="module")
def chat(llm: LLM) -> Chat:
    chat = llm.chat(max_new_tokens=5)
    chat.send("two\nlines")
    return chat


def check(value: object) -> str:
    text = repr(value)
    where = f"{type(value).__module__}.{type(value).__name__}"
    assert "\n" not in text, f"{where} has several lines: {text[:200]}"
    assert len(text) <= REPR_LIMIT, f"{where} has {len(text)} characters: {text[:200]}"
    assert SECRET not in text, where
    assert " object at 0x" not in text or inspect.isclass(value), where
    return text


def of_litgpt(value: object) -> bool:
    is_module = isinstance(value, nn.Module) and not isinstance(value, (litgpt.GPT, LLM))
    return type(value).__module__.startswith("litgpt") and not is_module  # a module has torch's repr


def reachable(value: object, seen: dict[int, object]) -> None:
    """Collect the library's objects that are reachable through public attributes."""
    if id(value) in seen:
        return
    seen[id(value)] = value
    inside: list[object] = []
    if isinstance(value, Mapping):
        inside = list(value.values())[:3]
    elif isinstance(value, (list, tuple, set, frozenset)):
        inside = list(value)[:3]
    elif of_litgpt(value):
        for name in {*dir(value), *vars(type(value)), "model"}:
            if not name.startswith("_"):
                actual = getattr(value, name, None)
                inside += [actual] if not inspect.isroutine(actual) else []
    for item in inside:
        reachable(item, seen)


def test_an_llm_and_everything_that_its_public_attributes_lead_to(llm: LLM) -> None:
    seen: dict[int, object] = {}
    reachable(llm, seen)
    objects = [value for value in seen.values() if of_litgpt(value)]
    for value in objects:
        check(value)
    kinds = {type(value).__name__ for value in objects}
    assert {"LLM", "GPT", "Config", "Tokenizer", "Preprocessor", "PromptStyle", "LayerSpec"} <= kinds


def test_a_busy_chat_and_what_it_answers(llm: LLM, chat: Chat) -> None:
    events = iter(chat.events("again"))
    check(next(events))
    check(chat)
    seen: dict[int, object] = {}
    reachable(chat, seen)
    conversation = chat._conversation
    for value in (*seen.values(), *events, conversation, conversation._history):
        if of_litgpt(value):
            check(value)
    check(llm.complete("x", max_new_tokens=100, logprobs=True))
    assert check(chat).startswith("Chat(messages=4, last=Message(role='assistant'")


def test_an_llm_reports_its_placement(llm: LLM) -> None:
    shown = check(llm)
    assert ", placement=Placement(devices=('cpu',), dtype='float32'" in shown
    assert ", adapters=('default', 'adapter-0-xxx" in shown
    with LLM.load(str(tiny_folder("llama")), distribute=None, quiet=True) as other:
        assert check(other).startswith(
            f"LLM(config=Config(name={other.config.name!r}, family='llama', n_layer=3"
        )
        other.distribute(quantize="int8")
        assert check(other).endswith(
            "Placement(devices=('cpu',), dtype='bfloat16', quantize='int8', engine='native'))"
        )
        chat = other.chat()
    check(other)
    check(chat)


def test_a_print_of_the_network_writes_its_modules(llm: LLM) -> None:
    text = str(llm.model)
    assert "(wte): Embedding(288, 48" in text
    assert "LLM(" in str(llm)


def test_the_cache_of_many_rows_and_layers(llm: LLM) -> None:
    assert llm.model is not None
    cache = llm.model.empty_cache(max_length=256, row_offsets=[0] * 1000, fixed=True)
    check(cache)
    check(cache.layers[0])
    loop = torch.zeros(3)
    assert "\n" not in short_repr({"a": [loop.expand(50, 50, 3)]})


LARGE: tuple[Any, ...] = (
    Completion(
        text=LONG, token_ids=(7,) * 10**6, logprobs=(-0.1,) * 10**6, finish_reason="length", prompt_tokens=1
    ),
    Message("user", LONG, {LONG: [LONG] * 1000}),
    Message(LONG),
    GenerationRequest(prompt=[1] * 10**6, stop_token_ids=frozenset(range(10**5))),
    CompletionChunk(0, LONG, 1, -0.1),
    ContinuationScore(logprob=-1.0, is_greedy=False, token_ids=(7,) * 10**6, logprobs=(-0.1,) * 10**6),
    TextLogprobs(token_ids=(7,) * 10**6, logprobs=(None,) * 10**6),
    SavedChat([Message("user", LONG)] * 1000, [{LONG: LONG}], {LONG: LONG}),
    PromptStyle(name=LONG, litgpt_name=LONG, bos=LONG, stop_sequences=(LONG,) * 1000),
    TemplateOptions(variables={LONG: LONG}),
    TrainConfig(model=LONG, data=LONG, out_dir=LONG),
    TrainResult(saved=Path("x" * 5000), checkpoint=None, steps=1, train_loss=1.0, val_loss=None, seconds=1.0),
    ModelReference("x" * 10**6, LONG, token=SECRET),
)


@pytest.mark.parametrize("value", LARGE, ids=lambda value: type(value).__name__)
def test_a_value_with_long_fields(value: object) -> None:
    assert check(value).startswith(type(value).__name__ + "(")


def test_a_short_value_is_written_out() -> None:
    answer = Completion(text="Paris", token_ids=(3, 4), finish_reason="stop", prompt_tokens=5)
    assert repr(answer) == "Completion(text='Paris', token_ids=(3, 4), finish_reason='stop', prompt_tokens=5)"


def test_prompt_styles_and_data_modules(tmp_path: Path) -> None:
    check(find_style("alpaca"))
    (tmp_path / "data.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    module = litgpt.data.JSON(str(tmp_path / "data.jsonl"), prompt_style="llama3", val_split_fraction=0.1)
    assert "\n" not in repr(module)


def test_a_tokenizer(llm: LLM) -> None:
    assert check(llm.tokenizer).startswith("Tokenizer(vocab_size=")
    check(llm.tokenizer.port)
    check(Tokenizer(llm.tokenizer.port))


def test_all_public_names_are_covered() -> None:
    classes = {"GPT", "LLM", "Chat", "Completion", "CompletionChunk", "Config", "LitGPTError", "PromptStyle"}
    classes |= {
        "ContinuationScore",
        "RankedDocument",
        "TextLogprobs",
        "Tokenizer",
        "TrainConfig",
        "TrainResult",
    }
    assert classes == set(litgpt.__all__)


@pytest.mark.parametrize("limit", range(5, 120, 5))
def test_a_secret_is_removed_before_the_text_is_cut(limit: int) -> None:
    address = "https://user:password-in-an-address@hub.example/x"
    for value in (
        address,
        address.encode(),
        [address],
        {"a": {"b": f"hf_{'s1' * 15}"}},
        (f"hf_{'s1' * 15}",),
    ):
        text = short_repr(value, limit)
        assert "pass" not in text
        assert "s1s1" not in text


class Nasty:
    def __repr__(self) -> str:
        raise ZeroDivisionError


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value",
    [
        LONG,
        LONG.encode(),
        [LONG] * 10**5,
        dict.fromkeys(range(10**5), LONG),
        set(range(10**6)),
        frozenset({LONG}),
        10**100_000,
        -(10**5000),
        Nasty(),
        [Nasty()],
        deep(100_000),
        CYCLE,
        torch.zeros(100, 100),
        ValueError(LONG),
        Message("user", LONG),
        object,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_in_a_message_is_one_short_line(value: object) -> None:
    for error in (errors.InvalidArgument("name", value, "a name"), errors.WrongType("name", value, "a name")):
        for text in (str(error), repr(error)):
            assert len(text) <= MESSAGE_LIMIT
            assert "\n" not in text


def test_the_message_and_the_repr_of_every_error_are_one_short_line() -> None:
    by_type = {"object": LONG, "str": LONG, "int": 7, "int | None": 7, "Sequence[str]": [LONG] * 1000}
    for module in (errors, training_errors, generation_errors):
        for kind in vars(module).values():
            if inspect.isclass(kind) and issubclass(kind, LitGPTError) and attrs.has(kind):
                types = [getattr(field.type, "__name__", str(field.type)) for field in attrs.fields(kind)]
                error = kind(
                    *[by_type.get(type_, [LONG] if "Sequence" in type_ else LONG) for type_ in types]
                )
                for text in (str(error), repr(error)):
                    assert len(text) <= MESSAGE_LIMIT, kind
                    assert "\n" not in text, kind
