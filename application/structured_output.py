"""Answers of a form that the caller asks for: `schema`, `regex`, `grammar` and `choices`."""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from litgpt.domain.constraints.spec import ConstraintSpec, parse_constraint
from litgpt.domain.constraints.token_constraint import TokenConstraint
from litgpt.domain.errors import MissingArgument, NotInstalled, UnsupportedOperation, WrongType
from litgpt.domain.generation.errors import IncompleteAnswer
from litgpt.domain.generation.request import Completion, GenerationRequest
from litgpt.domain.ports import ConstraintCompiler, Tokenizer
from litgpt.domain.tool_calls.answer_syntax import AnswerSyntax
from litgpt.domain.tool_calls.formats import ChannelFormat
from litgpt.domain.tool_calls.tool_choice import ToolCallSpec
from litgpt.domain.validation.json_values import json_value


@attrs.frozen
class OutputFormat:
    """The form of an answer.

    Attributes:
        spec: The constraint on its text.
        parse: Returns what a text stands for; None: the text itself.
    """

    spec: ConstraintSpec
    parse: Callable[[str], Any] | None = None

    def value(self, completion: Completion) -> Any:
        """Return what a complete answer stands for.

        Raises:
            IncompleteAnswer: It was cut off, or the class of the schema does not accept it.
        """
        text, reason = completion.text, completion.finish_reason
        if reason != "stop":
            raise IncompleteAnswer(text, reason)
        try:
            return text if self.parse is None else self.parse(text)
        except Exception as error:  # JSON that a stop string cut off, or a validator of a class
            raise IncompleteAnswer(text, reason, " ".join(f"{error}.".split())) from error

    def with_parsed(self, completion: Completion) -> Completion:
        """Return a completion with the value of its text, if it has one."""
        if self.parse is None:
            return completion
        try:
            return attrs.evolve(completion, parsed=self.value(completion))
        except IncompleteAnswer:
            return completion


def output_format(schema: object, regex: object, grammar: object, choices: object) -> OutputFormat | None:
    """Return the form of the answers of a call; None: any text.

    Raises:
        WrongType: A value has another type.
        InvalidArgument: There are several constraints, or a value is not valid.
    """
    text, parse = (None, None) if schema is None else _read_schema(schema)
    spec = parse_constraint(text, regex, grammar, choices)
    return None if spec is None else OutputFormat(spec, parse)


def _read_schema(schema: Any) -> tuple[str, Callable[[str], Any]]:
    """Return a schema in JSON, and the function that reads its answers."""
    if hasattr(schema, "model_validate_json"):  # a pydantic model
        return json.dumps(_close_objects(schema.model_json_schema())), schema.model_validate_json
    from litgpt.domain.constraints.record_types import build, is_record, record_schema

    if is_record(schema):
        return json.dumps(record_schema(schema)), lambda text: build(schema, json.loads(text))
    if isinstance(schema, Mapping):
        return json.dumps(json_value("schema", schema)), json.loads
    expected = "a JSON schema (a dict), a pydantic model, a dataclass or an attrs class"
    raise WrongType("schema", schema, expected)


def _close_objects(schema: Any) -> Any:
    """Return the schema of a class without further properties, which the class would ignore."""
    if isinstance(schema, list):
        return [_close_objects(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _close_objects(item) for name, item in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        closed.setdefault("additionalProperties", False)
    return closed


_MAX_COMPILED = 64


@attrs.frozen
class CompileConstraint:
    """Adds constraints to requests; those with the same one share what is compiled.

    The constraints that were used last are kept, as each line of a long file may have another one.
    """

    compiler: ConstraintCompiler
    tokenizer: Tokenizer
    _compiled: "OrderedDict[tuple[ConstraintSpec | ToolCallSpec, frozenset[int], bool], TokenConstraint]" = (
        attrs.field(factory=OrderedDict, init=False)
    )
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def __call__(
        self, request: GenerationRequest, syntax: AnswerSyntax | None, spec: ConstraintSpec | None
    ) -> GenerationRequest:
        """Return a request whose answer, after its reasoning, follows the constraint, as do its tool calls.

        Args:
            request: The request.
            syntax: The syntax of the answer, which states the tools.
            spec: The constraint on the whole answer, which then does not call tools; None: any text.

        Raises:
            InvalidArgument: The constraint is not valid.
            MissingArgument: The request lacks stop tokens.
            UnsupportedOperation: The template has channels, and a constraint on the whole answer, or a call
                that is required after reasoning with a budget.
            NotInstalled: The library that compiles constraints is not installed.
        """
        if spec is None:
            calls = None if syntax is None else syntax.call_spec()
            return (
                request if syntax is None or calls is None else self._constrain_calls(request, syntax, calls)
            )
        _check_stop_tokens(request, spec.kind)
        if _has_channels(syntax):
            reason = "the chat template of the model has channels, whose headers are a part of the answer."
            raise UnsupportedOperation(f"{spec.kind}=", reason)
        return self._constrain(request, syntax, spec)

    def _constrain_calls(
        self, request: GenerationRequest, syntax: AnswerSyntax, calls: ToolCallSpec
    ) -> GenerationRequest:
        """Return a request whose calls are constrained; if it needs none, the library may be missing."""
        if calls.choice.is_required:
            _check_stop_tokens(request, calls.kind)
            return self._constrain(request, syntax, calls)
        try:
            return self._constrain(request, syntax, calls, is_free=True)
        except NotInstalled:
            return request

    def _constrain(
        self,
        request: GenerationRequest,
        syntax: AnswerSyntax | None,
        spec: ConstraintSpec | ToolCallSpec,
        *,
        is_free: bool = False,
    ) -> GenerationRequest:
        """Return a request with a constraint after the reasoning; see `ReasoningConstraint` for `is_free`."""
        reasoning = None if syntax is None else syntax.format.reasoning
        before = request.constraint
        limits_channel = before is not None and _has_channels(syntax)
        if limits_channel and not is_free:
            reason = "the chat template of the model has channels, where the budget needs tool_choice='auto'."
            raise UnsupportedOperation("reasoning_budget with a required tool call", reason)
        constraint = self._compile(spec, request.stop_token_ids, begins_text=reasoning is None)
        if limits_channel:
            from litgpt.domain.constraints.reasoning import ReasoningConstraint

            assert isinstance(before, ReasoningConstraint)  # noqa: S101 - the only one so far
            constraint = attrs.evolve(before, constraint=constraint, is_free=True)
        elif syntax is not None and reasoning is not None:
            from litgpt.application.reasoning_budget import reasoning_constraint
            from litgpt.domain.constraints.reasoning import ReasoningConstraint

            is_closed = syntax.prompt.rstrip().endswith(reasoning.end)
            if not isinstance(before, ReasoningConstraint):
                before = reasoning_constraint(syntax, reasoning, self.tokenizer, request.stop_token_ids)
            begin_id = None if is_closed or is_free else self.tokenizer.token_to_id(reasoning.begin)
            constraint = attrs.evolve(before, constraint=constraint, begin_id=begin_id, is_free=is_free)
        return attrs.evolve(request, constraint=constraint)

    def _compile(
        self, spec: ConstraintSpec | ToolCallSpec, stop_token_ids: frozenset[int], *, begins_text: bool
    ) -> TokenConstraint:
        key = spec, stop_token_ids, begins_text
        with self._lock:
            constraint = self._compiled.get(key)
        if constraint is None:  # several threads may compile at once, for different requests
            constraint = self.compiler.compile(
                spec, self.tokenizer, stop_token_ids=stop_token_ids, begins_text=begins_text
            )
        with self._lock:
            self._compiled[key] = constraint
            self._compiled.move_to_end(key)
            if len(self._compiled) > _MAX_COMPILED:
                self._compiled.popitem(last=False)
        return constraint


def _has_channels(syntax: AnswerSyntax | None) -> bool:
    return syntax is not None and isinstance(syntax.format.tool_calls, ChannelFormat)


def _check_stop_tokens(request: GenerationRequest, argument: str) -> None:
    if not request.stop_token_ids:
        remedy = f"with {argument}, an answer ends with a stop token. Leave out ignore_eos."
        raise MissingArgument("stop_token_ids", None, remedy)
