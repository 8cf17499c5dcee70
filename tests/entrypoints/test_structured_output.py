"""Tests of `schema`, `regex`, `grammar` and `choices` with a real model."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from jsonschema import Draft202012Validator

from litgpt import LLM
from litgpt.errors import IncompleteAnswer, InvalidArgument, MissingArgument, WrongType
from tests.architecture.repository import ROOT

pytest.importorskip("llguidance")

DOCUMENT = (ROOT / "docs" / "structured-output.md").read_text(encoding="utf-8")
ADDRESS = {
    "type": "object",
    "properties": {
        "street": {"type": "string", "maxLength": 20},
        "zip": {"type": "string", "pattern": "^[0-9]{5}$"},
    },
    "required": ["street", "zip"],
    "additionalProperties": False,
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "person": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 20},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "mood": {"enum": ["happy", "sad", None]},
            "address": ADDRESS,
        },
        "required": ["name", "age", "mood", "address"],
        "additionalProperties": False,
    },
    "order": {
        "$defs": {
            "item": {
                "type": "object",
                "properties": {
                    "sku": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"},
                    "price": {"type": "number", "exclusiveMinimum": 0, "maximum": 99.5},
                },
                "required": ["sku", "price"],
                "additionalProperties": False,
            }
        },
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 1, "maxItems": 2},
            "paid": {"type": "boolean"},
        },
        "required": ["items", "paid"],
        "additionalProperties": False,
    },
    "shape": {
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "kind": {"const": "circle"},
                    "radius": {"type": "integer", "maximum": 9, "minimum": 1},
                },
                "required": ["kind", "radius"],
                "additionalProperties": False,
            },
            {"type": "array", "items": {"type": "integer", "minimum": -5, "maximum": 5}, "maxItems": 4},
            {"type": "null"},
        ]
    },
}


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM.load("smollm2", quiet=True) as loaded:
        yield loaded


@pytest.mark.parametrize("name", SCHEMAS)
def test_answers_match_the_schema(llm: LLM, name: str) -> None:
    schema = SCHEMAS[name]
    prompts = [f"Write a {name} in JSON.", f"Invent a {name}, pretty-printed."]
    answers = llm.generate(
        prompts, schema=schema, n=4, temperature=1.5, top_k=None, seed=1, max_new_tokens=400
    )
    for answer in (*answers[0], *answers[1]):
        Draft202012Validator(schema).validate(answer)
    assert answers[0][0] != answers[0][1] or name == "shape"


@pytest.mark.parametrize("name", SCHEMAS)
def test_both_engines_write_the_same(smollm2_folder: Path, name: str) -> None:
    texts = []
    for engine in ("native", "torch"):
        with LLM.load(smollm2_folder, distribute=None, quiet=True) as llm:
            llm.distribute(accelerator="cpu", engine=engine, precision="32-true")
            completion = llm.complete(
                f"Write a {name} in JSON.", schema=SCHEMAS[name], temperature=0, max_new_tokens=300
            )
            assert completion.parsed == json.loads(completion.text)
            texts.append(completion.token_ids)
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "regex", ["[0-9]{4}-[0-9]{2}-[0-9]{2}", "(Yes|No), because [a-z ]{5,40}\\.", " a{1,9}b?"]
)
def test_answers_match_the_regular_expression(llm: LLM, regex: str) -> None:
    for answer in llm.generate("Well?", regex=regex, n=8, seed=3, temperature=2, top_k=None):
        assert re.fullmatch(regex, answer)


def test_answers_are_one_of_the_choices(llm: LLM) -> None:
    choices = ["yes", "no", "no idea", "(a|b)\n", "né 🦙"]
    answers = llm.generate("Well?", choices=choices, n=16, seed=1, temperature=5, top_k=None)
    assert set(answers) <= set(choices)
    assert len(set(answers)) > 2
    # The answer is complete without a stop token if it cannot go on.
    completion = llm.complete("Well?", choices=["Yes", "No"], max_new_tokens=1, temperature=0)
    assert (completion.finish_reason, completion.completion_tokens) == ("stop", 1)


def test_answers_follow_the_grammar(llm: LLM) -> None:
    grammar = 'start: sum\nsum: number ("+" number)* "=" number\nnumber: /[0-9]{1,3}/\n'
    for answer in llm.generate("1+1?", grammar=grammar, n=4, seed=1, temperature=1.0):
        assert re.fullmatch(r"[0-9]{1,3}(\+[0-9]{1,3})*=[0-9]{1,3}", answer)


def test_an_answer_that_is_cut_off_is_an_error_with_the_text(llm: LLM) -> None:
    schema = SCHEMAS["person"]
    with pytest.raises(IncompleteAnswer, match="larger max_new_tokens") as caught:
        llm.generate("Ada?", schema=schema, max_new_tokens=5, temperature=0)
    completion = llm.complete("Ada?", schema=schema, max_new_tokens=5, temperature=0)
    assert (completion.finish_reason, completion.parsed) == ("length", None)
    assert caught.value.text == completion.text != ""
    with pytest.raises(IncompleteAnswer):
        llm.generate("Ada?", schema=schema, stop=":", temperature=0, max_new_tokens=100)


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_forced_tokens_are_those_that_would_be_sampled(llm: LLM, temperature: float) -> None:
    options: dict[str, Any] = {
        "temperature": temperature,
        "seed": 3,
        "top_k": None,
        "xtc_probability": 0.3,
        "repetition_penalty": 1.2,
        "dry_multiplier": 0.8,
        "max_new_tokens": 150,
    }
    for schema in SCHEMAS.values():
        forced = llm.complete("Write it in JSON.", schema=schema, **options)
        # Tokens whose log-probabilities are asked for are sampled.
        sampled = llm.complete("Write it in JSON.", schema=schema, logprobs=True, **options)
        assert forced.token_ids == sampled.token_ids
        assert sampled.logprobs is not None
        assert len(sampled.logprobs) == len(sampled.token_ids)
        excluded = llm.complete("Write it in JSON.", schema=schema, logits_processor=_identity, **options)
        assert excluded.token_ids == sampled.token_ids


def _identity(token_ids: list[int], logits: Any) -> Any:
    del token_ids
    return logits


def test_streams_are_the_text_and_the_last_chunk_has_the_value(llm: LLM) -> None:
    options: dict[str, Any] = {"schema": SCHEMAS["person"], "temperature": 0, "max_new_tokens": 200}
    value = llm.generate("Ada?", **options)
    assert json.loads("".join(llm.generate("Ada?", stream=True, **options))) == value
    *_, last = llm.complete("Ada?", stream=True, **options)
    assert last.completion is not None
    assert last.completion.parsed == value


def test_answers_with_and_without_a_constraint_share_a_batch(llm: LLM) -> None:
    free = llm.generate("Count to five.", temperature=0)
    stream = llm.generate("Count to five.", temperature=0, stream=True)
    first = next(stream)
    assert llm.generate("Sky?", choices=["blue", "green"]) in ("blue", "green")
    assert first + "".join(stream) == free


class Mood(Enum):
    HAPPY = "happy"
    SAD = "sad"


@attrs.frozen
class Pet:
    name: str
    kind: Literal["cat", "dog"]


@dataclass
class Owner:
    name: str
    age: int
    mood: Mood
    pets: list[Pet]
    size: tuple[int, float]
    car: str | None
    notes: dict[str, int] = field(default_factory=dict)


def test_answers_are_objects_of_a_class(llm: LLM) -> None:
    owner = None
    for seed in range(20):  # a list may be long
        with suppress(IncompleteAnswer):
            owner = llm.generate("Who?", schema=Owner, seed=seed, max_new_tokens=300, bad_words=["\n"])
            break
    assert type(owner) is Owner
    assert type(owner.age) is int
    assert isinstance(owner.mood, Mood)
    assert all(type(pet) is Pet for pet in owner.pets)
    assert isinstance(owner.size, tuple)
    assert owner.car is None or isinstance(owner.car, str)


def test_answers_are_objects_of_a_pydantic_model(llm: LLM) -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model(
        "City", name=(str, pydantic.Field(max_length=20)), people=(int, pydantic.Field(ge=1, le=10**7))
    )
    city = llm.generate("Which city?", schema=model, temperature=0, max_new_tokens=200)
    assert type(city) is model


def test_a_chat_takes_them_for_one_answer(llm: LLM) -> None:
    with llm.chat(temperature=0, max_new_tokens=100) as chat:
        assert chat.send("The sky?", choices=["blue", "green"]) in ("blue", "green")
        person = chat.send("Who are you?", schema=SCHEMAS["shape"])
        Draft202012Validator(SCHEMAS["shape"]).validate(person)
        assert isinstance(chat.send("Thanks."), str)
        completion = chat.complete("A number?", schema={"type": "integer", "minimum": 10, "maximum": 99})
        assert 10 <= completion.parsed <= 99


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"regex": "("}, InvalidArgument, "regex must be one that llguidance supports .*unclosed group"),
        ({"grammar": "start: x"}, InvalidArgument, 'grammar must be .*unknown name: "x"'),
        ({"schema": {"type": "nope"}}, InvalidArgument, "schema must be .*Invalid type: nope"),
        ({"schema": {"not": {}}}, InvalidArgument, "Unimplemented keys"),
        ({"schema": {"a": {1}}}, WrongType, "schema"),
        ({"schema": "person"}, WrongType, "schema must be a JSON schema"),
        ({"schema": list}, WrongType, "schema must be a JSON schema"),
        ({"choices": "yes"}, WrongType, "choices must be a list of at least one string"),
        ({"choices": []}, InvalidArgument, "choices must be a list of at least one string"),
        ({"choices": ["a"], "regex": "b"}, InvalidArgument, "only one constraint"),
        ({"regex": ""}, WrongType, "regex must be a non-empty string"),
        ({"regex": "a", "ignore_eos": True}, MissingArgument, "Leave out ignore_eos"),
    ],
)
def test_wrong_constraints_are_errors(
    llm: LLM, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        llm.complete("Well?", stream=True, **options)


def test_a_benchmark_measures_them(llm: LLM) -> None:
    text, _ = llm.benchmark(prompt="Well?", choices=["blue", "green"])
    assert text in ("blue", "green")


def test_the_examples_of_the_document_run() -> None:
    names: dict[str, Any] = {"__name__": __name__}
    for block in re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL):
        exec(block, names)  # noqa: S102 - from the documentation
    names["llm"].close()
