"""Pieces of streamed answers in the format of OpenAI's API."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from litgpt.application.openai.answers import AnswerHeader, PromptEcho
from litgpt.application.openai.logprobs import TokenLogprob, chat_logprobs, text_logprobs, token_text
from litgpt.domain.generation.request import CompletionChunk
from litgpt.domain.ports import Tokenizer
from litgpt.domain.tool_calls.deltas import (
    Delta,
    ToolCallArguments,
    ToolCallStart,
    join_reasoning,
    join_text,
)

Body = dict[str, Any]


@attrs.define
class ChatChunks:
    """The chunks of streamed chat completions."""

    header: AnswerHeader
    tokenizer: Tokenizer
    has_usage: bool = False

    def begin(self, index: int) -> Body:
        """Return the first chunk of an answer, with its role."""
        return self._body(index, {"role": "assistant", "content": "", "refusal": None})

    def body(self, chunks: Sequence[CompletionChunk]) -> Body | None:
        """Return one chunk for consecutive chunks of one answer; None: there is nothing to send yet."""
        deltas = [delta for chunk in chunks for delta in chunk.deltas]
        last = chunks[-1]
        delta: dict[str, Any] = {}
        if text := join_text(deltas):
            delta["content"] = text
        if reasoning := join_reasoning(deltas):
            delta["reasoning_content"] = reasoning
        if calls := _tool_calls(deltas):
            delta["tool_calls"] = calls
        tokens = token_logprobs(chunks)
        reason = None if last.completion is None else last.completion.finish_reason
        if not (delta or tokens or reason):
            return None
        logprobs = chat_logprobs(tokens, self.tokenizer) if tokens else None
        return self._body(last.index, delta, logprobs, reason)

    def end(self, usage: Mapping[str, Any]) -> Body:
        """Return the chunk with the numbers of tokens, after all answers."""
        return {**self.header.body("chat.completion.chunk", []), "usage": dict(usage)}

    def _body(
        self,
        index: int,
        delta: Mapping[str, Any],
        logprobs: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> Body:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        body = self.header.body("chat.completion.chunk", [choice])
        return {**body, "usage": None} if self.has_usage else body


@attrs.define
class TextChunks:
    """The chunks of streamed completions; `echoes` are the prompts, with `n` answers each."""

    header: AnswerHeader
    tokenizer: Tokenizer
    n: int = 1
    echoes: Sequence[PromptEcho] = ()
    has_usage: bool = False
    _offsets: dict[int, int] = attrs.field(factory=dict, init=False)

    def begin(self, index: int) -> Body | None:
        """Return the first chunk of an answer, with the prompt; None without an echo."""
        if not self.echoes:
            return None
        echo = self.echoes[index // self.n]
        return self._body(index, echo.text, echo.tokens)

    def body(self, chunks: Sequence[CompletionChunk]) -> Body | None:
        """Return one chunk for consecutive chunks of one answer; None: there is nothing to send yet."""
        last = chunks[-1]
        text = "".join(chunk.text for chunk in chunks)
        tokens = token_logprobs(chunks, with_stop_token=True)  # as in the answer as a whole
        reason = None if last.completion is None else last.completion.finish_reason
        return self._body(last.index, text, tokens, reason) if text or tokens or reason else None

    def end(self, usage: Mapping[str, Any]) -> Body:
        """Return the chunk with the numbers of tokens, after all answers."""
        return {**self.header.body("text_completion", []), "usage": dict(usage)}

    def _body(
        self, index: int, text: str, tokens: Sequence[TokenLogprob] = (), reason: str | None = None
    ) -> Body:
        logprobs = None
        if tokens:
            offset = self._offsets.get(index, 0)
            logprobs = text_logprobs(tokens, self.tokenizer, offset=offset)
            self._offsets[index] = offset + sum(len(token_text(it.token, self.tokenizer)) for it in tokens)
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}
        body = self.header.body("text_completion", [choice])
        return {**body, "usage": None} if self.has_usage else body


def token_logprobs(chunks: Iterable[CompletionChunk], *, with_stop_token: bool = False) -> list[TokenLogprob]:
    """Return the log-probabilities in chunks, by default without the stop token."""
    return [
        TokenLogprob(chunk.token, chunk.logprob, chunk.top_logprobs)
        for chunk in chunks
        if chunk.logprob is not None
        and chunk.token is not None
        and (with_stop_token or chunk.completion is None or chunk.completion.stop_token is None)
    ]


def _tool_calls(deltas: Iterable[Delta]) -> list[dict[str, Any]]:
    """Return the increments of calls; a rejected call goes on as text, which follows."""
    calls: list[dict[str, Any]] = []
    for delta in deltas:
        if isinstance(delta, ToolCallStart):
            function = {"name": delta.name, "arguments": ""}
            calls.append({"index": delta.index, "id": delta.id, "type": "function", "function": function})
        elif isinstance(delta, ToolCallArguments) and delta.text:
            if calls and calls[-1]["index"] == delta.index:
                calls[-1]["function"]["arguments"] += delta.text
            else:
                calls.append({"index": delta.index, "function": {"arguments": delta.text}})
    return calls
