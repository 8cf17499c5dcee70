"""An answer as the commands show it: reasoning, text and tool calls."""

from typing import TYPE_CHECKING

import attrs

from litgpt.domain.tool_calls.deltas import ReasoningDelta, TextDelta, ToolCallEnd

if TYPE_CHECKING:
    from litgpt.cli.repl.chat_protocol import AnswerPart


@attrs.define
class AnswerText:
    """Joins the parts of an answer: reasoning in `<think>` marks, text, and calls as the model wrote them."""

    _in_reasoning: bool = attrs.field(default=False, init=False)
    _separator: str = attrs.field(default="", init=False)  # before the next part
    _last: str = attrs.field(default="\n", init=False)

    def push(self, chunk: "AnswerPart") -> str:
        """Return the text of a chunk."""
        text = ""
        for delta in chunk.deltas:
            if isinstance(delta, ReasoningDelta):
                text += delta.text if self._in_reasoning else self._part(f"<think>\n{delta.text}")
                self._in_reasoning = True
            elif isinstance(delta, TextDelta):
                text += self._end_reasoning() + self._part(delta.text)
            elif isinstance(delta, ToolCallEnd):
                before = self._end_reasoning() + self._separator
                line = "" if (text + before or self._last).endswith("\n") else "\n"
                text += f"{before}{line}{delta.call.raw_text}"
                self._separator = "\n"
        if chunk.completion is not None:
            text += self._end_reasoning()
            self._separator = "\n"  # the next answer follows, after the results of tools
        self._last = text[-1:] or self._last
        return text

    def _part(self, text: str) -> str:
        separator, self._separator = self._separator, ""
        return separator + text

    def _end_reasoning(self) -> str:
        if not self._in_reasoning:
            return ""
        self._in_reasoning, self._separator = False, "\n\n"
        return "\n</think>"
