"""Tests of the texts that beam search returns, with fakes."""

from collections.abc import Sequence

from litgpt.application.beam_search import beam_search
from litgpt.application.generate_text import GenerateText
from litgpt.application.prepare_requests import PreparedRequests
from litgpt.domain.beam_search.request import BeamSearchParams
from litgpt.domain.generation.request import Completion, GenerationRequest
from litgpt.domain.generation.stop_strings import StopStrings
from litgpt.testing import ByteTokenizer, ScriptedGenerator

END = 257


def beams(script: Sequence[int], *stops: str, count: int = 1) -> list[Completion]:
    """Return the answers to a prompt of one token, at most five tokens long."""
    generate = GenerateText(ByteTokenizer(), ScriptedGenerator(script))
    request = GenerationRequest(prompt=[1], max_new_tokens=5, stop_token_ids=frozenset({END}))
    prepared = PreparedRequests([request], [None], StopStrings(stops), is_batch=False)
    (completions,) = beam_search(generate, prepared, BeamSearchParams(num_return_sequences=count))
    return completions


def test_the_best_answers_are_completions_with_their_scores() -> None:
    best, other = beams([*b"hi", END], count=2)
    assert (best.text, best.token_ids, best.finish_reason) == ("hi", (*b"hi", END), "stop")
    assert (best.score, best.prompt_tokens, best.logprobs) == (-1.0, 1, None)
    assert other.score is not None
    assert other.score < -1.0


def test_an_answer_of_the_maximum_length_has_finish_reason_length() -> None:
    (best,) = beams(b"hello there")
    assert (best.text, best.finish_reason) == ("hello", "length")


def test_a_stop_string_ends_the_text_of_an_answer() -> None:
    (best,) = beams(b"hello", "ll")
    assert (best.text, best.finish_reason) == ("he", "stop")
