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
from litgpt.domain.tool_calls.formats import ChannelFormat, JSONCall
from litgpt.domain.tool_calls.grammar import ToolCallGrammar, tool_call_grammar
from litgpt.domain.tool_calls.tool_choice import CalledTool, ToolCallSpec

_ELSEWHERE = frozenset(("additionalProperties", "patternProperties", "$ref", "allOf", "anyOf", "oneOf"))
"""Keywords with which an object may have properties that `properties` does not list."""


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
        """
        from llguidance import LLMatcher

        spec = self.spec
        grammar = tool_call_grammar(spec.format, {tool.name: self._schema(tool) for tool in spec.tools})
        special = {mark: token for mark in spec.special_tokens if (token := self._special(mark)) is not None}
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

    def _schema(self, tool: CalledTool) -> Mapping[str, Any]:
        """Return the schema of the arguments of a tool; an object of any form if it cannot be enforced.

        Raises:
            InvalidArgument: The tool is strict, and its schema cannot be enforced.
        """
        from llguidance import LLMatcher

        schema = {**json.loads(tool.schema), "type": "object"}
        if "properties" in schema and not _ELSEWHERE & schema.keys():
            schema["additionalProperties"] = False
        grammar = LLMatcher.grammar_from_json_schema(prepare_schema(json.dumps(schema)))
        problem = LLMatcher.validate_grammar(grammar)
        if not problem:
            return schema
        message = explain(" ".join(problem.split()))
        if tool.strict:
            expected = f"a schema that llguidance supports ({message}), as the tool has strict"
            raise InvalidArgument(f"tools: {tool.name}", tool.schema, expected)
        warnings.warn(
            f"The arguments of the tool {tool.name} are any JSON object, as its schema cannot be enforced: "
            f"{message}",
            ToolSchemaWarning,
            stacklevel=2,
        )
        return {"type": "object"}
