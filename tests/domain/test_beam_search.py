"""Tests of the rules of beam search with log-probabilities made by hand."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pytest

from litgpt.domain.beam_search.request import Beam, BeamSearchParams, BeamSearchRequest
from litgpt.domain.beam_search.run import run_beam_search
from litgpt.domain.errors import InvalidArgument, WrongType
from litgpt.domain.generation.batching import MAX_SEQUENCES
from litgpt.domain.generation.errors import NonFiniteLogits

STOP = 9


@attrs.define
class Table:
    """A batch whose log-probabilities depend on the last token; `default` is for tokens that are not listed.

    The logits after the token `broken` are not finite.
    """

    after: Mapping[int, Mapping[int, float]]
    default: Mapping[int, float] = attrs.field(factory=lambda: {token: -3.0 - token for token in range(10)})
    broken: int = -1
    steps: list[int] = attrs.field(factory=list)
    closed: bool = False

    def start(self, prompts: Sequence[Sequence[int]], lengths: Sequence[int], count: int) -> Any:
        assert all(len(prompt) < length for prompt, length in zip(prompts, lengths, strict=True))
        return self.step(range(len(prompts)), [prompt[-1] for prompt in prompts], count)

    def step(self, parents: Sequence[int], tokens: Sequence[int], count: int) -> Any:
        assert len(parents) == len(tokens)
        self.steps.append(len(tokens))
        if bad := [row for row, token in enumerate(tokens) if token == self.broken]:
            raise NonFiniteLogits(bad, len(tokens))
        listed = [{**self.default, **self.after.get(token, {})} for token in tokens]
        return [dict(sorted(one.items(), key=lambda item: (-item[1], item[0]))[:count]) for one in listed]

    def close(self) -> None:
        self.closed = True


def search(table: Table, prompt: int = 0, max_new_tokens: int = 3, **params: Any) -> list[Beam]:
    request = BeamSearchRequest(
        prompt=[prompt],
        max_new_tokens=max_new_tokens,
        stop_token_ids=frozenset({STOP}),
        params=BeamSearchParams(**{"num_beams": 2, "num_return_sequences": 2, **params}),
    )
    (beams,) = run_beam_search(table, [request], 64)
    assert table.closed
    return beams


def assert_beam(beam: Beam, tokens: tuple[int, ...], score: float) -> None:
    assert beam.tokens == tokens
    assert beam.score == pytest.approx(score)


def test_a_worse_beginning_may_lead_to_the_best_sequence() -> None:
    table = Table({0: {1: -0.5, 2: -1.0}, 1: {3: -2.0}, 2: {4: -0.1}})
    best, other = search(table, max_new_tokens=2, length_penalty=0)
    assert_beam(best, (2, 4), -1.1)
    assert_beam(other, (1, 3), -2.5)
    assert table.steps == [1, 2]


def test_among_equal_scores_the_lowest_token_id_is_the_best() -> None:
    table = Table({}, default=dict.fromkeys((7, 3, 5, 4), -1.0))
    first, second = search(table, max_new_tokens=1)
    assert (first.tokens, second.tokens) == ((3,), (4,))


def test_the_length_penalty_divides_by_a_power_of_the_length() -> None:
    table = Table({0: {STOP: -1.0, 1: -1.1}, 1: {1: -0.5}})
    best, other = search(table, length_penalty=1.0)
    assert_beam(best, (1, 1, 1), (-1.1 - 0.5 - 0.5) / 3)
    assert_beam(other, (STOP,), -1.0)
    best, _ = search(table, length_penalty=0)
    assert best.tokens == (STOP,)


@pytest.mark.parametrize(
    ("early_stopping", "length_penalty", "steps", "best"),
    [
        (True, 1.0, 2, (1, STOP)),  # two sequences have finished
        (False, 1.0, 2, (1, STOP)),  # (1, 1) ended now would be worse than both
        ("never", 1.0, 8, (1,) * 8),  # but longer ones can be better
        ("never", 0.0, 2, (1, STOP)),  # without a penalty, they cannot
    ],
)
def test_early_stopping_is_that_of_transformers(
    early_stopping: Any, length_penalty: float, steps: int, best: tuple[int, ...]
) -> None:
    # After two steps: (1, 9) and (2, 9) have finished with -1.4 and -1.5, (1, 1) runs with -1.6.
    after = {0: {1: -0.4, 2: -0.5}, 1: {1: -1.2, STOP: -1.0}, 2: {STOP: -1.0}}
    table = Table(after, default={token: -8.0 - token for token in range(10)})
    if early_stopping == "never" and length_penalty:
        table.after = {**after, 1: {1: -0.15, STOP: -0.2}}
    beams = search(table, max_new_tokens=8, early_stopping=early_stopping, length_penalty=length_penalty)
    assert (len(table.steps), beams[0].tokens) == (steps, best)


def test_a_sequence_ends_with_the_context() -> None:
    request = BeamSearchRequest(prompt=[5] * 60, max_new_tokens=50)
    (beams,) = run_beam_search(Table({}), [request], 64)
    assert [len(beam.tokens) for beam in beams] == [4]


def test_many_prompts_are_searched_a_bounded_number_at_a_time() -> None:
    request = BeamSearchRequest(prompt=[0], max_new_tokens=2, params=BeamSearchParams(num_beams=8))
    table = Table({})
    results = run_beam_search(table, [request] * 100, 64)
    assert max(table.steps) <= MAX_SEQUENCES
    assert results == [results[0]] * 100


def test_logits_that_are_not_finite_name_their_prompt() -> None:
    requests = [BeamSearchRequest(prompt=[prompt]) for prompt in (0, 1, 2)]
    table = Table({1: {7: -0.1}}, default=dict.fromkeys(range(5), -1.0), broken=7)
    with pytest.raises(NonFiniteLogits, match="prompt 1") as caught:
        run_beam_search(table, requests, 64)
    assert caught.value.num_prompts == 3
    assert table.closed


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"num_beams": 0}, InvalidArgument, "num_beams must be a positive integer"),
        ({"num_return_sequences": 5}, InvalidArgument, r"at most num_beams \(4\)"),
        ({"length_penalty": math.nan}, InvalidArgument, "length_penalty must be"),
        ({"length_penalty": "1"}, WrongType, "length_penalty must be"),
        ({"early_stopping": "always"}, InvalidArgument, "early_stopping must be True, False or 'never'"),
        ({"early_stopping": 1}, InvalidArgument, "early_stopping must be"),
        ({"early_stopping": None}, InvalidArgument, "early_stopping must be"),
    ],
)
def test_parameters_are_checked(params: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        BeamSearchParams(**params)


def test_a_request_has_a_prompt_and_at_least_one_new_token() -> None:
    with pytest.raises(InvalidArgument, match="at least one token long"):
        BeamSearchRequest(prompt=[])
    with pytest.raises(InvalidArgument, match="max_new_tokens"):
        BeamSearchRequest(prompt=[1], max_new_tokens=0)
