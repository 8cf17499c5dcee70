"""Schemas of tools in the formats whose arguments are not JSON, and schemas that cannot be enforced."""

import time
import warnings
from typing import Any

import attrs
import pytest

from litgpt.adapters.constraints.tool_calls import ToolSchemaWarning
from litgpt.application.reasoning_budget import reasoning_constraint
from litgpt.application.structured_output import CompileConstraint
from litgpt.domain.constraints.token_constraint import TokenConstraint
from litgpt.domain.errors import InvalidArgument, UnsupportedOperation
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.tool_calls import known_formats as known
from litgpt.domain.tool_calls.answer_syntax import AnswerSyntax
from litgpt.domain.tool_calls.deltas import ParsedAnswer
from litgpt.domain.tool_calls.formats import (
    AnswerFormat,
    BareKeyArguments,
    NamedCall,
    TaggedArguments,
    ToolCallFormat,
)
from litgpt.domain.tool_calls.parser import AnswerParser
from litgpt.domain.tool_calls.tool_choice import ToolChoice
from tests.adapters.test_tool_call_constraints import (
    COMPILER,
    ONE,
    REQUIRED,
    SCHEMAS,
    STOP,
    Format,
    MarkTokenizer,
    allowed,
    compiled,
    encode,
    parse,
    random_calls,
    spec,
)

pytest.importorskip("llguidance")

TEXT_FORMATS = (known.QWEN3_CODER, known.GLM4, known.MINIMAX_M2, known.GEMMA4)


def random_arguments(form: Format, schema: dict[str, Any], seeds: int = 6) -> list[dict[str, Any]]:
    """Return the arguments of random required calls with a schema."""
    tokenizer, found = MarkTokenizer(form), list[dict[str, Any]]()
    constraint = compiled(form, ONE, tokenizer, f=schema)
    for seed in range(seeds):
        tokens = random_calls(constraint.copy(), seed, form, longest=400)
        if tokens is not None:
            parser = AnswerParser(AnswerFormat(form), {"f": schema})
            text = tokenizer.text(tokens)
            answer = ParsedAnswer.from_deltas([*parser.push(text), *parser.finish()])
            assert len(answer.tool_calls) == 1, text
            found.append(dict(answer.tool_calls[0].arguments))
    return found


@pytest.mark.parametrize("form", TEXT_FORMATS, ids=[form.name for form in TEXT_FORMATS])
def test_references_of_a_schema_are_known_to_each_argument(form: ToolCallFormat) -> None:
    schema = {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/P"}, "y": {"$ref": "#/$defs/P"}},
        "required": ["x", "y"],
        "$defs": {"P": {"type": "integer", "minimum": 1, "maximum": 9}},
    }
    calls = random_arguments(form, schema)
    assert calls
    assert all(call.keys() == {"x", "y"} for call in calls)
    if form is not known.GEMMA4:  # which does not resolve references
        assert all(isinstance(value, int) for call in calls for value in call.values())


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"$ref": "#/$defs/A", "$defs": {"A": {"properties": {"x": {"type": "string"}}}}},
        {"properties": {"x": {"type": "string"}}, "additionalProperties": True},
    ],
    ids=["any", "reference", "additional"],
)
@pytest.mark.parametrize("form", TEXT_FORMATS, ids=[form.name for form in TEXT_FORMATS])
def test_arguments_that_are_not_listed_can_be_written(form: ToolCallFormat, schema: dict[str, Any]) -> None:
    tokenizer = MarkTokenizer(form)
    running = compiled(form, REQUIRED, tokenizer, f=schema)
    text = write_call(form, "f", "other", "a b")
    for token in encode(tokenizer, text):
        assert token in allowed(bytes(running.mask())), text
        running.advance(token)
    assert parse(form, [text]).tool_calls[0].arguments == {"other": "a b"}


def compiled_strictly(form: ToolCallFormat, schema: dict[str, Any]) -> None:
    strict = spec(form, REQUIRED, strict=True, f=schema)
    COMPILER.compile(strict, MarkTokenizer(form), stop_token_ids=frozenset((STOP,)))


def write_call(form: ToolCallFormat, name: str, key: str, value: str) -> str:
    call = form.call
    assert isinstance(call, NamedCall)
    arguments = call.arguments
    if isinstance(arguments, TaggedArguments):
        newline = "\n" if arguments.newlines else ""
        written = f"{arguments.key_begin}{key}{arguments.key_end}{arguments.value_begin}{newline}"
        written += f"{value}{newline}{arguments.value_end}"
    else:
        assert isinstance(arguments, BareKeyArguments)
        written = f"{{{key}:{arguments.quote}{value}{arguments.quote}}}"
    before = f"{form.begin}{form.opening}{call.before_name}{name}{call.after_name}"
    return f"{before}{written}{form.call_end}{form.end}"


@pytest.mark.parametrize("form", TEXT_FORMATS, ids=[form.name for form in TEXT_FORMATS])
def test_all_valid_schemas_of_arguments_compile(form: ToolCallFormat) -> None:
    for rule in (True, {"type": "array", "items": True}, {"type": "array", "items": [{"type": "string"}]}):
        schema = {"type": "object", "properties": {"x": rule}, "required": ["x"]}
        assert allowed(bytes(compiled(form, REQUIRED, MarkTokenizer(form), f=schema).mask()))
        text = write_call(form, "f", "x", "a b")
        parser = AnswerParser(AnswerFormat(form), {"f": schema})
        (call,) = ParsedAnswer.from_deltas([*parser.push(text), *parser.finish()]).tool_calls
        assert call.arguments == {"x": "a b"}


@pytest.mark.parametrize("form", TEXT_FORMATS, ids=[form.name for form in TEXT_FORMATS])
def test_an_argument_without_possible_values_is_found_before_work(form: ToolCallFormat) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string", "enum": []}}, "required": ["x"]}
    with pytest.warns(ToolSchemaWarning):
        assert allowed(bytes(compiled(form, REQUIRED, MarkTokenizer(form), f=schema).mask()))
    with pytest.raises(InvalidArgument, match=r"f.*strict"):
        compiled_strictly(form, schema)


def test_many_properties_are_compiled_in_linear_time_and_too_many_are_an_error() -> None:
    form, seconds = known.GEMMA4, list[float]()
    for number in (100, 400):
        started = time.process_time()
        names = {f"p{index}": {"type": "string"} for index in range(number)}
        compiled(form, REQUIRED, MarkTokenizer(form), f={"type": "object", "properties": names}).mask()
        seconds.append(time.process_time() - started)
    assert seconds[1] < 10 * seconds[0]
    names = {f"p{index}": {"type": "string"} for index in range(2000)}
    with pytest.raises(InvalidArgument, match="2000 properties; at most"):
        compiled_strictly(form, {"type": "object", "properties": names})


def budgeted(choice: ToolChoice) -> TokenConstraint:
    """Return the constraint of a request to gpt-oss with a budget of five tokens for its reasoning."""
    form, tokenizer = known.HARMONY, MarkTokenizer(known.HARMONY)
    syntax = AnswerSyntax(
        format=AnswerFormat(form), schemas=SCHEMAS, prompt="<|start|>assistant", choice=choice
    )
    stops = frozenset((STOP,))
    limit = attrs.evolve(
        reasoning_constraint(syntax, form.reasoning_marks, tokenizer, stops),
        budget=5,
        decoder=lambda: lambda token: tokenizer.text([token]),
    )
    request = GenerationRequest(prompt=[0], stop_token_ids=stops, constraint=limit)
    constraint = CompileConstraint(COMPILER, tokenizer)(request, syntax, None).constraint
    assert constraint is not None
    return constraint.copy()


def test_a_budget_of_reasoning_applies_beside_tools_in_channels() -> None:
    tokenizer, running = MarkTokenizer(known.HARMONY), budgeted(ToolChoice())
    for token in encode(tokenizer, "<|channel|>analysis<|message|>Hm, a"):
        assert running.mask() == frozenset()
        running.advance(token)
    (end,) = encode(tokenizer, "<|end|>")
    assert list(running.forced()) == [end]
    running.advance(end)
    for token in encode(tokenizer, "<|start|>assistant<|channel|>commentary to=functions."):
        assert running.mask() == frozenset()
        running.advance(token)
    assert allowed(bytes(running.mask())) == sorted(b"nw")
    with pytest.raises(UnsupportedOperation, match="tool_choice='auto'"):
        budgeted(REQUIRED)


def test_warnings_about_schemas_have_nothing_of_the_request() -> None:
    schema = {"type": "object", "properties": {"a": {"not": {"type": "string"}}}}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in ("f\nERROR", "g"):
            compiled(known.HERMES, ToolChoice(), None, **{name: schema})
    assert len({str(warning.message) for warning in caught}) == 1
