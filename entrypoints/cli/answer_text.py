"""An answer as the commands show it: reasoning, text and tool calls."""

from typing import TYPE_CHECKING

import attrs

from litgpt.domain.tool_calls.deltas import ReasoningDelta, TextDelta, ToolCallEnd

if TYPE_CHECKING:
    from litgpt.domain.generation.request import CompletionChunk


@attrs.define
class AnswerText:
    """Joins the parts of an answer: reasoning in `<think>` marks, text, and calls as the model wrote them.

    Attributes:
        in_reasoning: Whether the last part was reasoning.
        separator: What stands before the next part.
    """

    in_reasoning: bool = attrs.field(default=False, init=False)
    separator: str = attrs.field(default="", init=False)

    def push(self, chunk: "CompletionChunk") -> str:
        """Return the text of a chunk."""
        text = ""
        for delta in chunk.deltas:
            if isinstance(delta, ReasoningDelta):
                text += delta.text if self.in_reasoning else f"{self.separator}<think>\n{delta.text}"
                self.in_reasoning, self.separator = True, ""
                continue
            if not isinstance(delta, (TextDelta, ToolCallEnd)):
                continue
            text += self._end_reasoning()
            if isinstance(delta, ToolCallEnd):
                text += f"{self.separator}{delta.call.raw_text}"
                self.separator = "\n"
            else:
                text += f"{self.separator}{delta.text}"
                self.separator = ""
        if chunk.completion is not None:
            text += self._end_reasoning()
            self.separator = "\n"  # the next answer follows, after the results of tools
        return text

    def _end_reasoning(self) -> str:
        if not self.in_reasoning:
            return ""
        self.in_reasoning, self.separator = False, "\n\n"
        return "\n</think>"
