"""Complete answers as the bodies of OpenAI's API."""

import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import attrs

from litgpt.application.openai.logprobs import TokenLogprob, chat_logprobs, text_logprobs
from litgpt.domain.generation.request import Completion
from litgpt.domain.ports import Tokenizer


@attrs.frozen
class AnswerHeader:
    """What all pieces of an answer have in common.

    Attributes:
        model: The name of the model.
        is_chat: Whether it answers a chat completion request; otherwise a completion request.
        id: The id of the answer.
        created: When it was requested, in seconds since 1970.
    """

    model: str
    is_chat: bool
    id: str = attrs.field(
        default=attrs.Factory(lambda self: f"{self._prefix}-{uuid4().hex}", takes_self=True)
    )
    created: int = attrs.field(factory=lambda: int(time.time()))

    @property
    def _prefix(self) -> str:
        return "chatcmpl" if self.is_chat else "cmpl"

    def body(self, kind: str, choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return a body of an `object` kind with choices."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": list(choices),
        }


@attrs.frozen
class PromptEcho:
    """The prompt, with which a text begins if the request has `echo`.

    Attributes:
        text: Its text.
        tokens: Its tokens with their log-probabilities, if requested.
    """

    text: str
    tokens: Sequence[TokenLogprob] = ()


def chat_body(
    header: AnswerHeader, completions: Sequence[Completion], tokenizer: Tokenizer
) -> dict[str, Any]:
    """Return the body of a chat completion."""
    choices = [{"index": at, **_chat_choice(it, tokenizer)} for at, it in enumerate(completions)]
    return {**header.body("chat.completion", choices), "usage": usage(completions, len(completions))}


def text_body(
    header: AnswerHeader,
    completions: Sequence[Completion],
    tokenizer: Tokenizer,
    *,
    n: int,
    echoes: Sequence[PromptEcho] = (),
) -> dict[str, Any]:
    """Return the body of a completion: `n` answers for each prompt, after its echo if there are any."""
    choices = [
        {"index": at, **_text_choice(it, tokenizer, echoes[at // n] if echoes else None)}
        for at, it in enumerate(completions)
    ]
    return {**header.body("text_completion", choices), "usage": usage(completions, n)}


def usage(completions: Sequence[Completion], n: int) -> dict[str, Any]:
    """Return the numbers of tokens; the `n` answers to a prompt count it once."""
    prompts = completions[::n]
    prompt_tokens = sum(it.prompt_tokens for it in prompts)
    generated = sum(it.completion_tokens for it in completions)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": generated,
        "total_tokens": prompt_tokens + generated,
        "prompt_tokens_details": {"cached_tokens": sum(it.cached_tokens for it in prompts)},
    }


def tokens_of(completion: Completion) -> list[TokenLogprob]:
    """Return the tokens with their log-probabilities, including the stop token."""
    logprobs = completion.logprobs or ()
    tops: Sequence[Mapping[int, float] | None] = completion.top_logprobs or [None] * len(logprobs)
    return [TokenLogprob(*it) for it in zip(completion.token_ids, logprobs, tops, strict=True)]


def visible_tokens(completion: Completion) -> list[TokenLogprob]:
    """Return the tokens of the text with their log-probabilities: without the stop token."""
    tokens = tokens_of(completion)
    return tokens if completion.stop_token is None else tokens[:-1]


def _chat_choice(completion: Completion, tokenizer: Tokenizer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": completion.text, "refusal": None}
    if completion.reasoning:
        message["reasoning_content"] = completion.reasoning
    if completion.tool_calls:
        message["content"] = completion.text or None
        message["tool_calls"] = [call.as_dict(string_arguments=True) for call in completion.tool_calls]
    has_logprobs = completion.logprobs is not None
    return {
        "message": message,
        "logprobs": chat_logprobs(visible_tokens(completion), tokenizer) if has_logprobs else None,
        "finish_reason": completion.finish_reason,
    }


def _text_choice(completion: Completion, tokenizer: Tokenizer, echo: PromptEcho | None) -> dict[str, Any]:
    before = "" if echo is None else echo.text
    logprobs = None
    if completion.logprobs is not None:
        # With the stop token, as in vLLM: clients such as lm-eval count on as many tokens as were generated.
        tokens = [*(() if echo is None else echo.tokens), *tokens_of(completion)]
        logprobs = text_logprobs(tokens, tokenizer)
    return {
        "text": before + completion.text,
        "logprobs": logprobs,
        "finish_reason": completion.finish_reason,
    }
