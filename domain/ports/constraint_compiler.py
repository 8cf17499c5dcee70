"""The port ConstraintCompiler: compile schemas, regular expressions and grammars for a vocabulary."""

from typing import Protocol

from litgpt.domain.constraints.spec import ConstraintSpec
from litgpt.domain.constraints.token_constraint import TokenConstraint
from litgpt.domain.ports.tokenizer import Tokenizer
from litgpt.domain.tool_calls.tool_choice import ToolCallSpec


class ConstraintCompiler(Protocol):
    """Compiles constraints."""

    def check(self, spec: ConstraintSpec) -> None:
        """Check a constraint without a tokenizer, before a model is loaded.

        It raises the errors of `compile`.
        """
        ...

    def compile(
        self,
        spec: ConstraintSpec | ToolCallSpec,
        tokenizer: Tokenizer,
        *,
        stop_token_ids: frozenset[int],
        begins_text: bool = True,
    ) -> TokenConstraint:
        """Return the constraint at the beginning of an answer, of which each answer takes a copy.

        Args:
            spec: The constraint on the text, or on the tool calls in it.
            tokenizer: The tokenizer that decodes the answer.
            stop_token_ids: The tokens that end an answer, at least one.
            begins_text: Whether nothing is decoded before the first token. Decoding then drops the spaces
                that some tokenizers insert at the beginning of a text.

        Raises:
            InvalidArgument: The schema, the regular expression or the grammar is wrong or not supported. The
                schema of a tool that is not supported is an error if the tool is strict; otherwise, its
                arguments are any JSON object.
            NotInstalled: The library that compiles it is not installed.
        """
        ...
