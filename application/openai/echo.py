"""Prompts as a part of the answer, with the log-probabilities of their tokens."""

from collections.abc import Mapping, Sequence

from litgpt.application.answer_builder import TextRequest
from litgpt.application.openai.answers import PromptEcho
from litgpt.application.openai.logprobs import TokenLogprob
from litgpt.application.scoring.prompt_logprobs import PromptLogprobs
from litgpt.domain.ports import Tokenizer


def prompt_echoes(
    tokenizer: Tokenizer, requests: Sequence[TextRequest], computed: Sequence[PromptLogprobs | None]
) -> list[PromptEcho]:
    """Return the texts of prompts, with the log-probabilities that were computed."""
    echoes = []
    for it, logprobs in zip(requests, computed, strict=True):
        ids = it.request.prompt
        shown = ids[1:] if tokenizer.adds_bos and ids[0] == tokenizer.bos_id else ids
        tokens = [] if logprobs is None else _tokens(ids, logprobs)[len(ids) - len(shown) :]
        echoes.append(PromptEcho(tokenizer.decode(shown, include_special_tokens=True), tokens))
    return echoes


def _tokens(ids: Sequence[int], logprobs: PromptLogprobs) -> list[TokenLogprob]:
    tokens = []
    for token, values in zip(ids, logprobs, strict=True):
        if values is None:
            tokens.append(TokenLogprob(token, None))
        else:
            tokens.append(TokenLogprob(token, values[token], _likeliest(token, values)))
    return tokens


def _likeliest(token: int, values: Mapping[int, float]) -> Mapping[int, float]:
    """Return the likeliest tokens in descending order; the token itself comes first in `values`."""
    return dict(sorted(values.items(), key=lambda it: (-it[1], it[0] != token)))
