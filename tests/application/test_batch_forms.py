"""Tests of the lines of a batch that ask for a form of the answer, or have tools."""

import json
from typing import Any

import attrs
import pytest

from litgpt.adapters.constraints.llguidance_compiler import LlguidanceCompiler
from litgpt.application.batch.run_batch import RunBatch
from litgpt.application.load_model import LoadedModel
from litgpt.domain.constraints.spec import ConstraintSpec
from litgpt.domain.constraints.token_constraint import TokenConstraint
from litgpt.domain.errors import NotInstalled
from litgpt.domain.ports import Tokenizer
from litgpt.domain.tool_calls.tool_choice import ToolCallSpec, ToolChoice
from litgpt.testing import ByteTokenizer, ScriptedGenerator
from tests.application.test_run_batch import body, lines, loaded, openai

pytest.importorskip("llguidance")

__all__ = ["loaded"]  # a fixture


class CountingCompiler(LlguidanceCompiler):
    """Records what is compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.specs: list[ConstraintSpec | ToolCallSpec]
        object.__setattr__(self, "specs", [])

    def compile(
        self,
        spec: ConstraintSpec | ToolCallSpec,
        tokenizer: Tokenizer,
        *,
        stop_token_ids: frozenset[int],
        begins_text: bool = True,
    ) -> Any:
        self.specs.append(spec)
        if isinstance(spec, ConstraintSpec) and spec.source == "missing":
            raise NotInstalled("regex=", "llguidance", "pip install llguidance")
        return super().compile(spec, tokenizer, stop_token_ids=stop_token_ids, begins_text=begins_text)


def run(loaded: LoadedModel[Any], *values: object, **defaults: Any) -> tuple[RunBatch, list[Any], Any]:
    written: list[Any] = []
    generator = ScriptedGenerator(b"yes ", 200)
    batch = RunBatch(loaded, generator, written.append, CountingCompiler(), defaults=defaults)
    list(batch(lines(*values)))
    return batch, written, generator


def constraints(generator: ScriptedGenerator) -> list[TokenConstraint | None]:
    return [request.constraint for request in generator.requests]


def test_lines_with_the_same_constraint_share_it(loaded: LoadedModel[Any]) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    choices = [{"prompt": "x", "choices": ["a", "b"], "n": 2}] * 3
    formats = [
        openai(
            **body(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
        ),
        {"prompt": "x", "schema": schema},
        openai(**body(response_format={"type": "json_object"})) | {"custom_id": "b"},
        openai("/v1/completions", prompt="a", regex="[0-9]") | {"custom_id": "c"},
    ]
    batch, _, generator = run(loaded, *choices, *formats, {"prompt": "x"})
    specs = batch.compiler.specs  # type: ignore[attr-defined]
    assert [spec.kind for spec in specs] == ["choices", "schema", "schema", "regex"]
    assert [json.loads(str(spec.source)) for spec in specs[1:3]] == [schema, {"type": "object"}]
    assert [it is None for it in constraints(generator)] == [False] * 10 + [True]
    assert len(set(map(id, constraints(generator)[:6]))) == 1  # of which each answer takes a copy


def test_a_constraint_of_a_line_replaces_that_of_the_command(loaded: LoadedModel[Any]) -> None:
    text = openai(**body(response_format={"type": "text"}))
    batch, _, generator = run(loaded, {"prompt": "x"}, {"prompt": "x", "regex": "b"}, text, choices=["a"])
    assert [spec.kind for spec in batch.compiler.specs] == ["choices", "regex"]  # type: ignore[attr-defined]
    assert [it is None for it in constraints(generator)] == [False, False, True]


def test_a_wrong_constraint_is_an_error_of_its_line(loaded: LoadedModel[Any]) -> None:
    _, written, _ = run(
        loaded,
        {"id": 0, "prompt": "x", "regex": "("},
        {"id": 1, "prompt": "x", "schema": "text"},
        {"id": 2, "prompt": "x", "choices": []},
        {"id": 3, "prompt": "x", "regex": "a", "grammar": "b"},
        {"id": 4, "prompt": "x", "regex": "a", "ignore_eos": True},
        {"id": 5, "prompt": "x"},
    )
    results = {it["id"]: it.get("error", {}).get("message", "") for it in written}
    assert "regex must be one that llguidance supports" in results[0]
    assert "schema must be a JSON schema" in results[1]
    assert "choices must be a list of at least one string" in results[2]
    assert "only one constraint is possible" in results[3]
    assert "Leave out ignore_eos" in results[4]
    assert not results[5]


def test_a_missing_package_ends_the_run_after_earlier_lines(loaded: LoadedModel[Any]) -> None:
    written: list[Any] = []
    batch = RunBatch(loaded, ScriptedGenerator(b"yes ", 200), written.append, CountingCompiler())
    with pytest.raises(NotInstalled, match="pip install"):
        list(batch(lines({"prompt": "x"}, {"prompt": "x", "regex": "missing"}, {"prompt": "x"})))
    assert [it["id"] for it in written] == ["line-1"]


def test_tools_are_called_in_the_format_of_the_api(loaded: LoadedModel[Any]) -> None:
    call = b'<tool_call>{"name": "lookup", "arguments": {"q": 1}}</tool_call>'
    tools = [{"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}]
    written: list[Any] = []
    tokenizer = ByteTokenizer(template="{{ '<tool_call>' }}")
    model = attrs.evolve(loaded, tokenizer=tokenizer)
    batch = RunBatch(model, ScriptedGenerator([*call, 257], 200), written.append, LlguidanceCompiler())
    list(batch(lines(openai(**body(tools=tools, tool_choice="auto")))))
    (choice,) = written[0]["response"]["body"]["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (found,) = choice["message"]["tool_calls"]
    assert found["function"] == {"name": "lookup", "arguments": '{"q": 1}'}


def test_lines_choose_tools(loaded: LoadedModel[Any]) -> None:
    tools = [{"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}]
    named = {"type": "function", "function": {"name": "lookup"}}
    batch, written, generator = run(
        loaded,
        openai(**body(tools=tools, tool_choice="required", parallel_tool_calls=False)),
        openai(**body(tools=tools, tool_choice=named)) | {"custom_id": "b"},
        {"prompt": "x", "tools": tools, "tool_choice": "lookup"},
        openai(**body(tools=tools, tool_choice="none")) | {"custom_id": "c"},
        openai(**body(tools=tools, tool_choice="other")) | {"custom_id": "d"},
    )
    specs = [spec for spec in batch.compiler.specs if isinstance(spec, ToolCallSpec)]  # type: ignore[attr-defined]
    choices = [spec.choice for spec in specs]
    assert choices == [ToolChoice("required", (), parallel=False), ToolChoice("required", ("lookup",))]
    assert [it is None for it in constraints(generator)] == [False, False, False, True]
    assert "lookup" in written[0]["error"]["message"]
