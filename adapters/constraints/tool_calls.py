"""Constraints on tool calls, compiled with llguidance."""

import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from litgpt.adapters.constraints.json_schema import explain, prepare_schema
from litgpt.adapters.constraints.tool_call_lark import LarkGrammar
from litgpt.adapters.constraints.vocabulary import Vocabulary
from litgpt.domain.constraints.call_triggers import CallTrigger, HeaderTrigger, MarkTrigger, OpeningTrigger
from litgpt.domain.constraints.token_constraint import TokenConstraint
from litgpt.domain.constraints.tool_calls import ToolCallConstraint
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.ports import Tokenizer
from litgpt.domain.tool_calls.deltas import dump_json
from litgpt.domain.tool_calls.formats import ChannelFormat, JSONArguments, JSONCall, NamedCall
from litgpt.domain.tool_calls.grammar import ToolCallGrammar, may_have_others, tool_call_grammar
from litgpt.domain.tool_calls.tool_choice import CalledTool, ToolCallSpec

_ANY_OBJECT = {"type": "object"}
_MAX_PROPERTIES = 512
_MAX_DEFINITIONS = 1 << 20
"""The largest total length of definitions, which formats with arguments between tags have once a property."""


class ToolSchemaWarning(UserWarning):
    """The schema of a tool has a keyword that is not enforced."""


@attrs.frozen
class CompileToolCalls:
    """Compiles the constraint of one request."""

    spec: ToolCallSpec
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    stop_token_ids: frozenset[int]

    def __call__(self, constraint: Callable[[str], TokenConstraint], leading_spaces: int) -> TokenConstraint:
        """Return the constraint.

        Args:
            constraint: Compiles a grammar of llguidance.
            leading_spaces: The number of spaces at the beginning of the answer that decoding drops.

        Raises:
            InvalidArgument: The schema of a tool that is strict cannot be enforced.
        """
        from llguidance import LLMatcher

        spec = self.spec
        special = {mark: token for mark in spec.special_tokens if (token := self._special(mark)) is not None}
        schemas = {tool.name: self._schema(tool, special) for tool in spec.tools}
        grammar = tool_call_grammar(spec.format, schemas)
        lark, parallel = LarkGrammar(special, self.stop_token_ids), spec.choice.parallel
        if spec.choice.is_required:
            source = lark.whole_answer(
                grammar, parallel=parallel, in_message=spec.in_message, leading_spaces=leading_spaces
            )
            return constraint(LLMatcher.grammar_from_lark(source))
        source = lark.calls_after_trigger(grammar, parallel=parallel)
        texts = self.vocabulary.texts.texts
        spellings = {token: mark.encode() for mark, token in special.items()}
        return ToolCallConstraint(
            triggers=tuple(self._triggers(grammar)),
            calls=constraint(LLMatcher.grammar_from_lark(source)),
            text_of=lambda token: spellings.get(token) or (texts[token] if token < len(texts) else b""),
            is_last=not parallel or lark.ends_answer(grammar.end),
        )

    def _special(self, mark: str) -> int | None:
        """Return the id of a mark that is a special token."""
        token = self.tokenizer.token_to_id(mark)
        return None if token is None or self.tokenizer.token_bytes(token) else token

    def _triggers(self, grammar: ToolCallGrammar) -> list[CallTrigger]:
        form, texts = self.spec.format, self.vocabulary.texts
        trigger = grammar.trigger.encode() or b'"'
        for part in (trigger, trigger[-1:]):
            texts.containing(part)  # it takes milliseconds, here instead of in a step of the engine
        if isinstance(form, ChannelFormat):
            begins = (form.start.encode(), form.channel.encode())
            return [
                HeaderTrigger(
                    mark=trigger,
                    vocabulary=texts,
                    begins=begins,
                    end=form.message.encode(),
                    in_header=not self.spec.in_message,
                )
            ]
        triggers: list[CallTrigger] = []
        if grammar.trigger:
            triggers.append(MarkTrigger(mark=trigger, vocabulary=texts))
        if form.bare and isinstance(form.call, JSONCall):
            openings = {}
            for tool in self.spec.tools:
                key, name = dump_json(form.call.name), dump_json(tool.name)
                openings[f"{{{key}:{name}".encode()] = self.vocabulary.encode(f"{{{key}: {name}")
            triggers.append(OpeningTrigger(openings=openings, vocabulary=texts))
        return triggers

    def _schema(self, tool: CalledTool, special: Mapping[str, int]) -> Mapping[str, Any]:
        """Return the schema of the arguments of a tool; an object of any form if it cannot be enforced.

        Raises:
            InvalidArgument: The tool is strict, and its schema cannot be enforced.
        """
        schema = {**json.loads(tool.schema), "type": "object"}
        if not may_have_others(schema):
            schema["additionalProperties"] = False
        problem = self._problem(tool.name, schema, special)
        if not problem:
            return schema
        if tool.strict:
            expected = f"a schema that llguidance supports ({problem}), as the tool has strict"
            raise InvalidArgument(f"tools: {tool.name}", tool.schema, expected)
        # Python remembers each text of a warning, so it has nothing of a request.
        warnings.warn(
            "The arguments of a tool are any JSON object, as its schema cannot be enforced. With "
            '"strict": True in the function, an error states the reason.',
            ToolSchemaWarning,
            stacklevel=2,
        )
        return _ANY_OBJECT

    def _problem(self, name: str, schema: Mapping[str, Any], special: Mapping[str, int]) -> str:
        """Return why the schema of a tool cannot be enforced; empty if it can."""
        from llguidance import LLMatcher

        grammar = LLMatcher.grammar_from_json_schema(prepare_schema(json.dumps(schema)))
        problem = LLMatcher.validate_grammar(grammar)
        call = self.spec.format.call if not isinstance(self.spec.format, ChannelFormat) else None
        if not problem and isinstance(call, NamedCall) and not isinstance(call.arguments, JSONArguments):
            problem = _size_problem(schema)
            if not problem:  # each argument is a part of the grammar
                lark = LarkGrammar(special, self.stop_token_ids)
                calls = tool_call_grammar(self.spec.format, {name: schema})
                source = lark.calls_after_trigger(calls, parallel=False)
                problem = LLMatcher.validate_grammar(LLMatcher.grammar_from_lark(source))
        return explain(" ".join(problem.split()))


def _size_problem(schema: Mapping[str, Any]) -> str:
    """Return why the grammar of a schema would be too large; empty if it is not."""
    number = _num_properties(schema)
    if number > _MAX_PROPERTIES:
        return f"it has {number} properties; at most {_MAX_PROPERTIES} are supported in this model's format"
    definitions = sum(len(json.dumps(schema.get(name, ""))) for name in ("$defs", "definitions"))
    if number * definitions > _MAX_DEFINITIONS:
        return "fewer properties or smaller $defs are needed in this model's format"
    return ""


def _num_properties(schema: Any) -> int:
    if isinstance(schema, list):
        return sum(map(_num_properties, schema))
    if not isinstance(schema, Mapping):
        return 0
    own = schema.get("properties")
    return (len(own) if isinstance(own, Mapping) else 0) + sum(map(_num_properties, schema.values()))
