"""Tests of the log-probabilities of prompts with fakes."""

from collections.abc import Sequence

import attrs

from litgpt.application.generate_text import GenerateText
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.scoring.request import ScoringRequest, TokenScores
from litgpt.testing import ByteTokenizer, ScriptedGenerator


@attrs.define
class Recorder(ScriptedGenerator):
    """Records the texts that are scored."""

    scored: list[Sequence[ScoringRequest]] = attrs.field(factory=list, init=False)

    def score(self, requests: Sequence[ScoringRequest]) -> list[TokenScores]:
        self.scored.append(requests)
        return super().score(requests)


def test_a_token_comes_first_and_then_the_likeliest_ones() -> None:
    text = GenerateText(ByteTokenizer(), ScriptedGenerator(b"ab"))
    completions = text.complete(
        [
            GenerationRequest(prompt=b"xab", max_new_tokens=1, prompt_logprobs=2),
            GenerationRequest(prompt=b"xby", max_new_tokens=1, prompt_logprobs=0),
            GenerationRequest(prompt=b"xby", max_new_tokens=1),
            GenerationRequest(prompt=b"x", max_new_tokens=1, prompt_logprobs=3),
            GenerationRequest(prompt=b"xz", max_new_tokens=0, prompt_logprobs=1),
        ]
    )
    a, b, y, z = b"abyz"
    assert [completion.prompt_logprobs for completion in completions] == [
        (None, {a: -1.0, b: -1.0}, {b: -1.0, a: -1.0}),
        (None, {b: -1.0}, {y: -2.0}),
        None,
        (None,),
        (None, {z: -2.0, a: -1.0}),
    ]
    likeliest = completions[0].prompt_logprobs
    assert likeliest is not None
    assert [list(one or ()) for one in likeliest] == [[], [a, b], [b, a]]


def test_a_prompt_is_scored_once_and_only_if_it_is_asked_for() -> None:
    generator = Recorder(b"ab")
    text = GenerateText(ByteTokenizer(), generator)
    request = GenerationRequest(prompt=b"xab", max_new_tokens=2, prompt_logprobs=1)
    stream = text.stream([request, request, attrs.evolve(request, prompt=b"abc")])
    assert generator.scored == []  # computation starts with the first chunk
    completions = [chunk.completion for chunk in stream if chunk.completion is not None]
    assert all(completion.prompt_logprobs for completion in completions)
    assert [[bytes(one.ids) for one in call] for call in generator.scored] == [[b"xab", b"abc"]]
    list(text.stream([attrs.evolve(request, prompt_logprobs=None)]))
    assert len(generator.scored) == 1
