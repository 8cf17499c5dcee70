"""Constraints on tool calls: any answer that they allow has calls that the parser reads."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litgpt.adapters.constraints.llguidance_compiler import LlguidanceCompiler
from litgpt.adapters.constraints.tool_calls import ToolSchemaWarning
from litgpt.adapters.tokenization.factory import open_tokenizer
from litgpt.application.structured_output import CompileConstraint
from litgpt.domain.constraints.token_constraint import TokenConstraint
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.ports import Tokenizer
from litgpt.domain.tool_calls import known_formats as known
from litgpt.domain.tool_calls.answer_syntax import answer_syntax
from litgpt.domain.tool_calls.deltas import Delta, ParsedAnswer
from litgpt.domain.tool_calls.formats import AnswerFormat, ChannelFormat, ToolCallFormat
from litgpt.domain.tool_calls.parser import AnswerParser
from litgpt.domain.tool_calls.tool_choice import CalledTool, ToolCallSpec, ToolChoice
from litgpt.testing import ByteTokenizer
from tests.adapters.test_gguf_tokenizer import vocabulary_of

pytest.importorskip("llguidance")

Format = ToolCallFormat | ChannelFormat
FORMATS = known.TOOL_CALL_FORMATS
SCHEMAS: dict[str, dict[str, Any]] = {
    "weather": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "enum": ["Rome", "Oslo"]},
            "note": {"type": "string"},
            "days": {"type": "integer", "minimum": 1, "maximum": 9},
            "exact": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
            "unit": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["city", "days"],
    },
    "now": {"type": "object", "properties": {}},
}
STOP = 256
COMPILER = LlguidanceCompiler()
_ENDS = frozenset(b'"<}]')
REQUIRED, ONE, NOW = (
    ToolChoice("required"),
    ToolChoice("required", (), parallel=False),
    ToolChoice("required", ("now",), parallel=False),
)


class MarkTokenizer(ByteTokenizer):
    """A tokenizer of bytes, in which the marks of a format are special tokens from 300 on."""

    def __init__(self, form: Format | None = None) -> None:
        super().__init__()
        marks = sorted(AnswerFormat(form).special_tokens) if form else []
        object.__setattr__(self, "marks", marks)

    marks: list[str]

    @property
    def vocab_size(self) -> int:
        return 300 + len(self.marks)

    def token_bytes(self, token: int) -> bytes:
        return bytes((token,)) if token < 256 else b""

    def token_to_id(self, token: str) -> int | None:
        return 300 + self.marks.index(token) if token in self.marks else None

    def text(self, ids: Sequence[int]) -> str:
        parts = [bytes((token,)) if token < 256 else self.marks[token - 300].encode() for token in ids]
        return b"".join(parts).decode("utf-8", "replace")


def spec(form: Format, choice: ToolChoice, *, strict: bool = False, **schemas: Any) -> ToolCallSpec:
    tools = [
        CalledTool(name, json.dumps(schema), strict)
        for name, schema in (schemas or SCHEMAS).items()
        if not choice.names or name in choice.names
    ]
    return ToolCallSpec(format=form, tools=tuple(tools), choice=choice)


def compiled(
    form: Format, choice: ToolChoice, tokenizer: Tokenizer | None = None, **schemas: Any
) -> TokenConstraint:
    constraint = COMPILER.compile(
        spec(form, choice, **schemas), tokenizer or MarkTokenizer(), stop_token_ids=frozenset((STOP,))
    )
    return constraint.copy()


def allowed(mask: bytes) -> list[int]:
    ids: list[int] = np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little").nonzero()[0].tolist()
    return ids


def random_calls(
    constraint: TokenConstraint, seed: int, form: Format, longest: int = 1000
) -> list[int] | None:
    """Return random tokens that the constraint allows, up to where it does not apply; None if it still does.

    Marks and characters that end something are likelier, as answers would never end.
    """
    marks = [mark.encode() for mark in AnswerFormat(form).special_tokens]
    rng, tokens = random.Random(seed), list[int]()  # noqa: S311 - not cryptography
    while len(tokens) < longest:
        mask = constraint.mask()
        if constraint.is_finished or isinstance(mask, frozenset):
            return tokens
        ids = allowed(mask)
        texts = [token for token in ids if 32 <= token < 128 or token in (10, STOP) or token >= 300] or ids
        ends = [token for token in texts if token in _ENDS or token >= STOP]
        tail = bytes(token if token < 256 else 0 for token in tokens[-30:])
        begun = [
            mark[at]
            for mark in marks
            for at in range(1, len(mark))
            if tail.endswith(mark[:at]) and mark[at] in ids
        ]
        token = rng.choice(begun or (ends if ends and rng.random() < 0.4 else texts))
        constraint.advance(token)
        if token == STOP:
            return tokens
        tokens.append(token)
    return None


def parse(form: Format, chunks: list[str]) -> ParsedAnswer:
    parser = AnswerParser(AnswerFormat(form), SCHEMAS)
    deltas: list[Delta] = [delta for chunk in chunks for delta in parser.push(chunk)]
    return ParsedAnswer.from_deltas([*deltas, *parser.finish()])


def check_calls(answer: ParsedAnswer) -> None:
    """Check the arguments of calls."""
    for call in answer.tool_calls:
        if call.name == "now":
            assert call.arguments == {}
            continue
        arguments = dict(call.arguments)
        assert call.name == "weather"
        assert arguments.pop("city") in ("Rome", "Oslo")
        assert isinstance(arguments.pop("days"), int)
        assert isinstance(arguments.pop("note", ""), str)
        assert isinstance(arguments.pop("unit", None), str | None)
        assert isinstance(arguments.pop("exact", True), bool)
        assert all(isinstance(tag, str) for tag in arguments.pop("tags", []))
        assert arguments == {}


@pytest.mark.parametrize(
    ("form", "special"),
    # The marks of channels are special tokens in all models.
    [(form, True) for form in FORMATS] + [(form, False) for form in FORMATS if form is not known.HARMONY],
    ids=lambda value: value.name if not isinstance(value, bool) else "special" if value else "text",
)
def test_a_required_call_always_parses(form: Format, *, special: bool) -> None:
    tokenizer = MarkTokenizer(form if special else None)
    for choice, at_most in ((REQUIRED, 99), (ONE, 1), (NOW, 1)):
        constraint, texts = compiled(form, choice, tokenizer), list[str]()
        for seed in range(5):
            tokens = random_calls(constraint.copy(), seed, form)
            if tokens is None:
                continue
            text = tokenizer.text(tokens)
            texts.append(text)
            answer = parse(form, [text])
            assert answer.text == "", text
            assert 1 <= len(answer.tool_calls) <= at_most, text
            assert not choice.names or answer.tool_calls[0].name in choice.names
            check_calls(answer)
        text = min(texts, key=len)
        answer = parse(form, [text])
        assert all(parse(form, [text[:at], text[at:]]) == answer for at in range(len(text)))


@pytest.mark.parametrize("special", [True, False], ids=["special", "text"])
@pytest.mark.parametrize("form", FORMATS, ids=[form.name for form in FORMATS])
def test_text_is_free_until_a_call_begins_and_after_it(form: Format, *, special: bool) -> None:
    tokenizer = MarkTokenizer(form if special else None)
    constraint = compiled(form, ToolChoice(), tokenizer)
    before = "Let me see: {1} < 2 " if isinstance(form, ToolCallFormat) and form.begin else ""
    begin = before + begin_call(form)
    for seed in range(4):
        running, text = constraint.copy(), ""
        for token in encode(tokenizer, begin):
            assert running.mask() == frozenset(), text
            assert not running.forced()
            running.advance(token)
            text += tokenizer.text([token])
        assert isinstance(running.mask(), bytes)
        tokens = random_calls(running, seed, form)
        if tokens is not None:
            answer = parse(form, [begin + tokenizer.text(tokens)])
            assert len(answer.tool_calls) >= 1
            assert answer.text == before.strip()
            check_calls(answer)


def begin_call(form: Format) -> str:
    """Return the text from which on a call is constrained."""
    if isinstance(form, ChannelFormat):
        return f"{form.channel}commentary {form.recipient}"
    return form.begin or '{"name": "weather"'


def encode(tokenizer: MarkTokenizer, text: str) -> list[int]:
    ids: list[int] = []
    while text:
        mark = next((mark for mark in tokenizer.marks if text.startswith(mark)), None)
        ids += [300 + tokenizer.marks.index(mark)] if mark else [*text[0].encode()]
        text = text[len(mark or text[0]) :]
    return ids


def test_a_token_does_not_go_beyond_the_mark_that_begins_a_call(smollm2_gguf: Path) -> None:
    tokenizer = open_tokenizer(vocabulary_of(smollm2_gguf), name="smollm2", vocab_size=49152)
    running = compiled(known.HERMES, ToolChoice(), tokenizer)
    for token in tokenizer.encode("a > b, <tool_call", bos=False):
        assert running.mask() == frozenset()
        running.advance(token)
    excluded = running.mask()
    assert isinstance(excluded, frozenset)
    assert tokenizer.encode(">", bos=False)[0] not in excluded
    texts = {tokenizer.token_bytes(token) for token in excluded}
    assert {b"></", b">,", b'>"'} <= texts
    assert all(text.startswith(b">") and len(text) > 1 for text in texts)
    running.advance(tokenizer.encode(">", bos=False)[0])
    assert isinstance(running.mask(), bytes)


@pytest.mark.parametrize("text", ['{"name": "Ada"}', '{"names": []}', "[1]", "{}", 'so {"name": "weather"'])
@pytest.mark.parametrize("form", [known.GENERIC_JSON, known.LLAMA3_JSON], ids=["json", "llama"])
def test_json_that_is_not_a_call_is_free(form: Format, text: str) -> None:
    running = compiled(form, ToolChoice())
    for token in text.encode():
        assert running.mask() == frozenset()
        running.advance(token)
    assert running.mask() == frozenset()


@pytest.mark.parametrize("opening", ['\n {"name": "now"', '{"name":"now"', '{\n  "name" : "now"'])
def test_a_call_without_a_mark_begins_with_the_name_of_a_tool(opening: str) -> None:
    running = compiled(known.GENERIC_JSON, ToolChoice())
    for token in opening.encode():
        assert running.mask() == frozenset()
        running.advance(token)
    assert allowed(bytes(running.mask())) == [ord(",")]
    for token in b', "arguments": {}}':
        running.advance(token)
    assert running.mask() == frozenset()
    assert not running.is_finished


def test_a_message_that_mentions_the_mark_of_a_header_is_free() -> None:
    tokenizer = MarkTokenizer(known.HARMONY)
    running = compiled(known.HARMONY, ToolChoice(), tokenizer)
    for token in encode(tokenizer, "<|channel|>final<|message|>Write to=functions.nothing to call it."):
        assert running.mask() == frozenset()
        running.advance(token)
    for token in encode(tokenizer, "<|end|><|start|>assistant to=functions."):
        assert running.mask() == frozenset()
        running.advance(token)
    assert allowed(bytes(running.mask())) == sorted(b"nw")


def test_an_answer_with_one_call_ends_after_it() -> None:
    running = compiled(known.HERMES, ToolChoice(parallel=False))
    for token in b'Hm. <tool_call>{"name": "now", "arguments": {}}</tool_call>':
        assert not running.is_finished
        running.advance(token)
    assert running.is_finished


def test_a_schema_that_cannot_be_enforced_is_an_error_if_the_tool_is_strict() -> None:
    schema = {"type": "object", "properties": {"a": {"not": {"type": "string"}}}}
    with pytest.warns(ToolSchemaWarning, match="strict"):
        constraint = compiled(known.HERMES, REQUIRED, weather=schema)
    tokens = random_calls(constraint, 1, known.HERMES)
    assert tokens is not None
    assert parse(known.HERMES, [MarkTokenizer().text(tokens)]).tool_calls[0].name == "weather"
    with pytest.raises(InvalidArgument, match=r"weather.*not.*strict"):
        COMPILER.compile(
            spec(known.HERMES, REQUIRED, strict=True, weather=schema),
            MarkTokenizer(),
            stop_token_ids=frozenset((STOP,)),
        )


def request_with(template: str, prompt: str, choice: ToolChoice) -> TokenConstraint:
    """Return the constraint of a request for an answer that may reason."""
    tools = [{"type": "function", "function": {"name": "now", "parameters": SCHEMAS["now"]}}]
    syntax = answer_syntax(template, prompt, tools, choice=choice)
    request = GenerationRequest(prompt=[0], stop_token_ids=frozenset((STOP,)))
    constraint = CompileConstraint(COMPILER, MarkTokenizer())(request, syntax, None).constraint
    assert constraint is not None
    return constraint.copy()


def advance(running: TokenConstraint, text: str) -> None:
    for token in text.encode():
        assert running.mask() == frozenset(), text
        running.advance(token)


@pytest.mark.parametrize("template", ["<think> <tool_call>", "<think>"], ids=["hermes", "json"])
@pytest.mark.parametrize("in_prompt", [True, False])
def test_a_mark_within_reasoning_begins_no_call(template: str, *, in_prompt: bool) -> None:
    running = request_with(template, "<think>" if in_prompt else "Hi", ToolChoice())
    call = '<tool_call>{"name": "now"' if "tool" in template else '{"name": "now"'
    advance(running, "" if in_prompt else " <think>")
    advance(running, f"{call}, x </think> \n{call.partition('>')[0]}")
    rest = call.partition(">")[1] + call.partition(">")[2]
    for token in rest.encode():
        running.advance(token)
    assert allowed(bytes(running.mask())) == [ord(",")]


def test_a_required_call_follows_reasoning() -> None:
    running = request_with("<think> <tool_call>", "<think>", REQUIRED)
    for token in b"Hm. </think>":
        assert running.mask() == frozenset((STOP,))  # the answer does not end in reasoning
        running.advance(token)
    assert {*allowed(bytes(running.mask()))} == {*b" \n<"}
