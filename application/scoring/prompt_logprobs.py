"""Log-probabilities of the tokens of prompts, which completions include."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.ports import Generator

if TYPE_CHECKING:
    from litgpt.domain.scoring.request import TokenScores

PromptLogprobs: TypeAlias = tuple[Mapping[int, float] | None, ...]
"""See `Completion.prompt_logprobs`."""


def prompt_logprobs(
    generator: Generator, requests: Sequence[GenerationRequest]
) -> list[PromptLogprobs | None]:
    """Return them for each request; None for those that do not ask. Equal prompts are computed once."""
    if all(it.prompt_logprobs is None for it in requests):
        return [None] * len(requests)
    from litgpt.domain.scoring.request import ScoringRequest

    asked = {_key(it): it for it in requests if it.prompt_logprobs is not None and len(it.prompt) > 1}
    texts = [
        ScoringRequest(ids=it.prompt, top_logprobs=it.prompt_logprobs or 0, adapter=it.adapter)
        for it in asked.values()
    ]
    scores = dict(zip(asked, generator.score(texts) if texts else (), strict=True))
    return [None if it.prompt_logprobs is None else _logprobs(it, scores.get(_key(it))) for it in requests]


def _key(request: GenerationRequest) -> tuple[object, ...]:
    return request.prompt_logprobs, request.adapter, *request.prompt


def _logprobs(request: GenerationRequest, scores: "TokenScores | None") -> PromptLogprobs:
    if scores is None:  # a prompt of one token
        return (None,)
    tops: Sequence[Mapping[int, float]] = scores.top_logprobs or [{}] * len(scores.logprobs)
    own = zip(request.prompt[1:], scores.logprobs, tops, strict=True)
    return None, *({token: logprob, **top} for token, logprob, top in own)
