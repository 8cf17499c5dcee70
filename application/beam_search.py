"""Beam search of texts."""

from collections.abc import Sequence

import attrs

from litgpt.application.answer_builder import TextRequest
from litgpt.application.generate_text import GenerateText
from litgpt.application.prepare_requests import PreparedRequests
from litgpt.domain.beam_search.request import BeamSearchParams, BeamSearchRequest
from litgpt.domain.generation.request import Completion


def beam_search(
    generate: GenerateText, prepared: PreparedRequests, params: BeamSearchParams
) -> list[list[Completion]]:
    """Return the completions of each prompt, the best first."""
    requests = [
        BeamSearchRequest(
            prompt=it.prompt,
            max_new_tokens=it.max_new_tokens,
            stop_token_ids=it.stop_token_ids,
            params=params,
        )
        for it in prepared.requests
    ]
    texts: Sequence[TextRequest] = [
        TextRequest(request, prepared.stop_strings, syntax)
        for request, syntax in zip(prepared.requests, prepared.syntaxes, strict=True)
    ]
    return [
        [attrs.evolve(generate.completion(text, beam.tokens), score=beam.score) for beam in beams]
        for text, beams in zip(texts, generate.generator.beam_search(requests), strict=True)
    ]
