"""Constrained decoding with the library llguidance, for any tokenizer."""

import json
from typing import TYPE_CHECKING, Any

import attrs

from litgpt.adapters.constraints.json_schema import JSON_WHITESPACE, explain, prepare_schema
from litgpt.adapters.constraints.llguidance_constraint import LlguidanceConstraint, MaskThread
from litgpt.adapters.constraints.tool_call_lark import escape_regex
from litgpt.adapters.constraints.tool_calls import CompileToolCalls
from litgpt.adapters.constraints.vocabulary import Vocabularies, Vocabulary
from litgpt.domain.constraints.spec import ConstraintSpec
from litgpt.domain.constraints.token_constraint import TokenConstraint
from litgpt.domain.errors import InvalidArgument, NotInstalled
from litgpt.domain.ports import Tokenizer
from litgpt.domain.tool_calls.tool_choice import ToolCallSpec

if TYPE_CHECKING:
    from llguidance import LLMatcher


@attrs.frozen
class LlguidanceCompiler:
    """Implements the port ConstraintCompiler; the vocabulary of a tokenizer is read once."""

    _vocabularies: Vocabularies = attrs.field(factory=Vocabularies, init=False, repr=False)
    _masks: MaskThread = attrs.field(factory=MaskThread, init=False, repr=False)

    def compile(
        self,
        spec: ConstraintSpec | ToolCallSpec,
        tokenizer: Tokenizer,
        *,
        stop_token_ids: frozenset[int],
        begins_text: bool = True,
    ) -> TokenConstraint:
        matcher = _matcher_class(spec.kind)
        vocabulary = self._vocabularies[tokenizer]
        leading_spaces = tokenizer.leading_spaces if begins_text else 0
        if isinstance(spec, ToolCallSpec):
            calls = CompileToolCalls(spec, tokenizer, vocabulary, stop_token_ids)
            return calls(
                lambda grammar: self._constraint(spec, vocabulary, grammar, stop_token_ids), leading_spaces
            )
        grammar = _grammar(spec, leading_spaces=leading_spaces)
        _validate(spec, matcher.validate_grammar(grammar, vocabulary.tokenizer))
        return self._constraint(spec, vocabulary, grammar, stop_token_ids)

    def check(self, spec: ConstraintSpec) -> None:
        _validate(spec, _matcher_class(spec.kind).validate_grammar(_grammar(spec, leading_spaces=0)))

    def _constraint(
        self,
        spec: ConstraintSpec | ToolCallSpec,
        vocabulary: Vocabulary,
        grammar: str,
        stop_token_ids: frozenset[int],
    ) -> LlguidanceConstraint:
        from llguidance import LLMatcher

        compiled = LLMatcher(vocabulary.tokenizer, grammar, log_level=0)
        if compiled.is_error():  # such as of a size that only the whole has; the first step would fail
            _validate(spec, compiled.get_error())
        return LlguidanceConstraint(compiled, vocabulary.end_id, stop_token_ids, self._masks)


def _matcher_class(kind: str) -> "type[LLMatcher]":
    try:
        from llguidance import LLMatcher
    except ImportError as error:
        install = 'pip install "litgpt[structured]"'
        raise NotInstalled(f"{kind}=", "llguidance", install) from error
    return LLMatcher


def _validate(spec: ConstraintSpec | ToolCallSpec, problem: str) -> None:
    if problem:
        message = explain(" ".join(problem.partition("<backtrace>")[0].split()))
        if isinstance(spec, ToolCallSpec):
            expected = f"fewer or simpler: the grammar of all of them together is not supported ({message})"
            raise InvalidArgument("tools", f"{len(spec.tools)} tools", expected)
        raise InvalidArgument(spec.kind, spec.source, f"one that llguidance supports ({message})")


def _grammar(spec: ConstraintSpec, *, leading_spaces: int) -> str:
    """Return a grammar of llguidance, which begins with the spaces that decoding drops."""
    from llguidance import LLMatcher

    source: Any = spec.source
    if spec.kind == "schema":
        grammar: str = LLMatcher.grammar_from_json_schema(
            prepare_schema(source), overrides={"whitespace_pattern": JSON_WHITESPACE}
        )
    elif spec.kind == "grammar":
        grammar = LLMatcher.grammar_from_lark(source)
    else:
        regex = source if spec.kind == "regex" else "|".join(map(escape_regex, source))
        grammar = LLMatcher.grammar_from_regex(regex)
    if not leading_spaces:
        return grammar
    (answer,) = json.loads(grammar)["grammars"]
    start = {"lark_grammar": f"start: {json.dumps(' ' * leading_spaces)} @answer"}
    return json.dumps({"grammars": [start, {**answer, "name": "answer"}]})
