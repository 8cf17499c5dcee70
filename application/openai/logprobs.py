"""Log-probabilities in the two formats of OpenAI's API."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from litgpt.domain.ports import Tokenizer

TopLogprobs = Mapping[int, float] | None


@attrs.frozen
class TokenLogprob:
    """A token with its log-probability, and those of the likeliest tokens at its place.

    Attributes:
        logprob: None for the first token of a prompt.
    """

    token: int
    logprob: float | None
    top: TopLogprobs = None


def chat_logprobs(tokens: Sequence[TokenLogprob], tokenizer: Tokenizer) -> dict[str, Any]:
    """Return them as in chat completions: with the bytes of each token."""
    content = []
    for it in tokens:
        top = [_entry(token, logprob, tokenizer) for token, logprob in (it.top or {}).items()]
        content.append({**_entry(it.token, it.logprob, tokenizer), "top_logprobs": top})
    return {"content": content, "refusal": None}


def text_logprobs(tokens: Sequence[TokenLogprob], tokenizer: Tokenizer, *, offset: int = 0) -> dict[str, Any]:
    """Return them as in completions; `offset` is the number of characters before the first token."""
    texts = [token_text(it.token, tokenizer) for it in tokens]
    offsets = []
    for text in texts:
        offsets.append(offset)
        offset += len(text)
    has_top = any(it.top is not None for it in tokens)
    return {
        "tokens": texts,
        "token_logprobs": [it.logprob for it in tokens],
        "top_logprobs": [_by_text(it.top, tokenizer) for it in tokens] if has_top else None,
        "text_offset": offsets,
    }


def token_text(token: int, tokenizer: Tokenizer) -> str:
    """Return the text of a token; bytes that are part of a character become U+FFFD."""
    spelled = tokenizer.token_bytes(token)
    if spelled:
        return spelled.decode("utf-8", "replace")
    return tokenizer.decode([token], include_special_tokens=True)


def _entry(token: int, logprob: float | None, tokenizer: Tokenizer) -> dict[str, Any]:
    text = token_text(token, tokenizer)
    spelled = tokenizer.token_bytes(token) or text.encode()
    return {"token": text, "logprob": logprob, "bytes": list(spelled)}


def _by_text(top: TopLogprobs, tokenizer: Tokenizer) -> dict[str, float] | None:
    """Return the log-probabilities by text; of tokens with the same text, the likeliest."""
    if top is None:
        return None
    by_text: dict[str, float] = {}
    for token, logprob in top.items():
        by_text.setdefault(token_text(token, tokenizer), logprob)
    return by_text
