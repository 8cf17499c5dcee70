"""Contract tests of the port Generator, for all adapters and the fake."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import attrs
import pytest

from litgpt.domain.beam_search.request import BeamSearchParams, BeamSearchRequest
from litgpt.domain.errors import InvalidArgument, PromptTooLong, TextTooLong
from litgpt.domain.generation.request import GenerationRequest, TokenEvent
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.ports import Generator
from litgpt.domain.scoring.request import Pooling, ScoringRequest

GREEDY = SamplingParams(temperature=0)
PROMPTS = ([5, 6, 7, 8, 9], [3], [11, 12], [20, 21, 22, 23, 24, 25, 26, 27, 28])


def by_answer(events: Iterable[TokenEvent]) -> dict[int, list[TokenEvent]]:
    answers: dict[int, list[TokenEvent]] = defaultdict(list)
    for event in events:
        answers[event.index].append(event)
    return dict(answers)


def tokens(events: Iterable[TokenEvent]) -> list[int]:
    return [event.token for event in events]


class GeneratorContract:
    """Base class: subclasses provide a generator with a context of 64 tokens and a vocabulary of 100."""

    @pytest.fixture
    def generator(self) -> Generator:
        raise NotImplementedError

    def answer(self, generator: Generator, prompt: Sequence[int], at_most: int = 6) -> list[int]:
        return tokens(
            generator.generate(
                [GenerationRequest(prompt=prompt, max_new_tokens=at_most, sampling_params=GREEDY)]
            )
        )

    def test_an_answer_ends_at_max_new_tokens_with_that_finish_reason(self, generator: Generator) -> None:
        events = list(generator.generate([GenerationRequest(prompt=[5, 6], max_new_tokens=4)]))
        assert [event.finish_reason for event in events] == [None, None, None, "length"]

    def test_an_answer_ends_where_the_context_ends(self, generator: Generator) -> None:
        assert generator.context == 64
        events = list(generator.generate([GenerationRequest(prompt=[5] * 60, max_new_tokens=50)]))
        assert [event.finish_reason for event in events] == [None, None, None, "length"]

    def test_zero_new_tokens_yield_no_events(self, generator: Generator) -> None:
        requests = [
            GenerationRequest(prompt=[5], max_new_tokens=0),
            GenerationRequest(prompt=[6], max_new_tokens=2),
        ]
        assert [event.index for event in generator.generate(requests)] == [1, 1]
        assert list(generator.generate(requests[:1])) == []

    def test_an_end_token_is_last_with_finish_reason_stop(self, generator: Generator) -> None:
        first, second, *_ = self.answer(generator, [5, 6, 7])
        ends = frozenset({second})
        events = list(
            generator.generate(
                [GenerationRequest(prompt=[5, 6, 7], sampling_params=GREEDY, stop_token_ids=ends)]
            )
        )
        stopped_at = 1 if first != second else 0
        assert tokens(events) == [first, second][: stopped_at + 1]
        assert events[-1].finish_reason == "stop"

    def test_a_prompt_without_room_for_an_answer_is_refused_at_once(self, generator: Generator) -> None:
        fits, too_long = GenerationRequest(prompt=[5] * 63), GenerationRequest(prompt=[5] * 64)
        generator.generate([fits]).close()
        with pytest.raises(PromptTooLong, match=r"64 tokens.*length is 64"):
            generator.generate([fits, too_long])

    def test_an_adapter_that_does_not_exist_is_refused_at_once(self, generator: Generator) -> None:
        request = GenerationRequest(prompt=[5], adapter="absent")
        with pytest.raises(InvalidArgument, match="'absent'"):
            generator.generate([GenerationRequest(prompt=[5]), request])
        with pytest.raises(InvalidArgument, match="'absent'"):
            generator.open().add(request)

    def test_an_iterator_of_requests_is_read_as_answers_end(self, generator: Generator) -> None:
        taken: list[int] = []

        def requests() -> Iterator[GenerationRequest]:
            for number in range(3000):
                taken.append(number)
                prompt = PROMPTS[number % len(PROMPTS)]
                yield GenerationRequest(prompt=prompt, max_new_tokens=2, sampling_params=GREEDY)

        events = generator.generate(requests())
        ended: dict[int, list[int]] = defaultdict(list)
        for event in events:
            ended[event.index].append(event.token)
            if event.finish_reason is not None and event.index == 600:
                break
        assert 600 < len(taken) < 1500
        events.close()
        expected = [self.answer(generator, prompt, at_most=2) for prompt in PROMPTS]
        assert all(ended[index] == expected[index % len(PROMPTS)] for index in range(256))

    def test_an_iterator_with_a_prompt_that_is_too_long_ends_with_an_error(
        self, generator: Generator
    ) -> None:
        requests = iter([GenerationRequest(prompt=[5] * 64)])
        with pytest.raises(PromptTooLong, match=r"64 tokens.*length is 64"):
            next(generator.generate(requests))

    def test_prompts_of_all_lengths_get_their_individual_answers(self, generator: Generator) -> None:
        requests = [
            GenerationRequest(prompt=prompt, max_new_tokens=3 + 4 * at, sampling_params=GREEDY)
            for at, prompt in enumerate(PROMPTS)
        ]
        together = by_answer(generator.generate(requests))
        for at, prompt in enumerate(PROMPTS):
            assert tokens(together[at]) == self.answer(generator, prompt, 3 + 4 * at)
            assert together[at][-1].finish_reason == "length"

    def test_a_seed_repeats_an_answer_despite_other_generations(self, generator: Generator) -> None:
        request = GenerationRequest(prompt=[5, 6], max_new_tokens=8, sampling_params=SamplingParams(seed=1))
        other = GenerationRequest(prompt=[7, 8, 9], max_new_tokens=8, sampling_params=SamplingParams(seed=2))
        alone = tokens(generator.generate([request]))
        assert tokens(by_answer(generator.generate([other, request]))[1]) == alone

    def test_a_cancelled_answer_ends_and_the_others_continue(self, generator: Generator) -> None:
        generation = generator.generate([GenerationRequest(prompt=[5], max_new_tokens=5) for _ in range(2)])
        next(generation)
        generation.cancel(0)
        assert by_answer(generation).keys() == {1}

    def test_all_answers_cancelled_are_the_end(self, generator: Generator) -> None:
        generation = generator.generate([GenerationRequest(prompt=[5], max_new_tokens=5)])
        next(generation)
        generation.cancel(0)
        assert list(generation) == []

    def test_a_closed_model_cannot_be_used(self, generator: Generator) -> None:
        generation = generator.generate([GenerationRequest(prompt=[5], max_new_tokens=5)])
        next(generation)
        generation.close()
        generation.close()
        assert list(generation) == []

    def test_two_generations_may_be_interleaved(self, generator: Generator) -> None:
        first = generator.generate(
            [GenerationRequest(prompt=PROMPTS[0], max_new_tokens=6, sampling_params=GREEDY)]
        )
        other = generator.generate(
            [GenerationRequest(prompt=PROMPTS[3], max_new_tokens=6, sampling_params=GREEDY)]
        )
        mixed = [(a.token, b.token) for a, b in zip(first, other, strict=True)]
        assert [a for a, _ in mixed] == self.answer(generator, PROMPTS[0])
        assert [b for _, b in mixed] == self.answer(generator, PROMPTS[3])

    def test_log_probabilities_are_returned_on_request(self, generator: Generator) -> None:
        requests = [
            GenerationRequest(prompt=[5], max_new_tokens=2, logprobs=True),
            GenerationRequest(prompt=[5], max_new_tokens=2),
        ]
        answers = by_answer(generator.generate(requests))
        assert all(event.logprob is not None and event.logprob <= 0 for event in answers[0])
        assert all(event.logprob is None for event in answers[1])

    def test_the_likeliest_tokens_are_returned_on_request(self, generator: Generator) -> None:
        requests = [
            GenerationRequest(prompt=[5], max_new_tokens=2, top_logprobs=1, sampling_params=GREEDY),
            GenerationRequest(prompt=[5], max_new_tokens=2),
        ]
        answers = by_answer(generator.generate(requests))
        assert [list(event.top_logprobs or ()) for event in answers[0]] == [[at] for at in tokens(answers[0])]
        assert all(event.top_logprobs is None for event in answers[1])

    def test_a_common_prefix_is_computed_once_and_changes_no_answer(self, generator: Generator) -> None:
        first = [10 + at % 7 for at in range(36)]
        answer = self.answer(generator, first)
        for prompt in ([*first, *answer, 9, 8], [*first, 40, 41], [*first[:33], 50]):
            request = GenerationRequest(prompt=prompt, max_new_tokens=6, sampling_params=GREEDY)
            alone = list(generator.generate([attrs.evolve(request, cache_prompt=False)]))
            events = list(generator.generate([request]))
            assert tokens(events) == tokens(alone)
            assert {event.cached_tokens for event in alone} == {0}
            assert min(event.cached_tokens for event in events) >= 32

    def test_prompts_of_one_call_share_their_common_prefix(self, generator: Generator) -> None:
        shared = [20 + at % 5 for at in range(40)]
        requests = [
            GenerationRequest(prompt=[*shared, 1 + at], max_new_tokens=6, sampling_params=GREEDY)
            for at in range(5)
        ]
        answers = by_answer(generator.generate(requests))
        assert sum(answers[at][0].cached_tokens >= 40 for at in range(5)) == 4
        for at, request in enumerate(requests):
            assert tokens(answers[at]) == self.answer(generator, request.prompt)

    def test_an_opened_engine_runs_requests_that_join_and_leave(self, generator: Generator) -> None:
        engine = generator.open()
        answers: dict[int, list[int]] = defaultdict(list)
        added: dict[int, Sequence[int]] = {}
        cancelled = -1
        waiting = list(PROMPTS)
        while waiting or engine.has_unfinished:
            if waiting:
                prompt = waiting.pop()
                request = GenerationRequest(prompt=prompt, max_new_tokens=6, sampling_params=GREEDY)
                added[engine.add(request)] = prompt
            if len(waiting) == 1:
                cancelled = min(added)
                engine.cancel(cancelled)
            for event in engine.step():
                assert isinstance(event, TokenEvent)
                answers[event.index].append(event.token)
        assert len(answers[cancelled]) < 6
        assert {index: answers[index] for index in added if index != cancelled} == {
            index: self.answer(generator, prompt) for index, prompt in added.items() if index != cancelled
        }
        engine.close()
        assert engine.pages.num_used == 0

    def test_scores_are_those_of_an_answer(self, generator: Generator) -> None:
        request = GenerationRequest(prompt=[5, 6, 7], max_new_tokens=6, sampling_params=GREEDY, logprobs=True)
        events = list(generator.generate([request]))
        ids = [5, 6, 7, *tokens(events)]
        (scores,) = generator.score([ScoringRequest(ids=ids, start=3)])
        assert scores.logprobs == pytest.approx([event.logprob for event in events], abs=1e-4)
        assert all(scores.is_greedy)
        other = (ids[3] + 1) % 100
        (scores,) = generator.score([ScoringRequest(ids=[5, 6, 7, other], start=3)])
        assert scores.is_greedy == (False,)
        assert scores.logprobs[0] < (events[0].logprob or 0.0)

    def test_scores_do_not_depend_on_the_batch(self, generator: Generator) -> None:
        shared = [10 + at % 7 for at in range(36)]
        ends = ([1, 2], [1, 3, 4], [9], [1, 2, 3, 4, 5, 6])
        requests = [ScoringRequest(ids=[*shared, *end], start=36) for end in ends]
        requests += [ScoringRequest(ids=[*shared[:34], 50, 51, 52 + at], start=35) for at in range(2)]
        requests += [ScoringRequest(ids=prompt) for prompt in PROMPTS if len(prompt) > 1]
        requests.append(ScoringRequest(ids=[7] * 64, start=63))
        together = generator.score(requests)
        assert [len(scores.logprobs) for scores in together] == [2, 3, 1, 6, 2, 2, 4, 1, 8, 1]
        for request, scores in zip(requests, together, strict=True):
            (alone,) = generator.score([request])
            assert scores.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
            assert scores.is_greedy == alone.is_greedy

    def test_a_text_beyond_the_context_is_not_scored(self, generator: Generator) -> None:
        fits, too_long = ScoringRequest(ids=[5] * 64), ScoringRequest(ids=[5] * 65)
        assert len(generator.score([fits])[0].logprobs) == 63
        with pytest.raises(TextTooLong, match=r"65 tokens.*length is 64"):
            generator.score([fits, too_long])
        with pytest.raises(InvalidArgument, match="token ids"):
            generator.score([ScoringRequest(ids=[5, -1])])

    def test_no_requests_have_no_scores(self, generator: Generator) -> None:
        assert generator.score([]) == []

    def test_the_likeliest_tokens_are_scored_on_request(self, generator: Generator) -> None:
        request = GenerationRequest(
            prompt=[5, 6, 7], max_new_tokens=4, sampling_params=GREEDY, logprobs=True, top_logprobs=1
        )
        events = list(generator.generate([request]))
        ids = [5, 6, 7, *tokens(events)]
        top, plain = generator.score(
            [ScoringRequest(ids=ids, start=3, top_logprobs=1), ScoringRequest(ids=ids, start=3)]
        )
        assert plain.top_logprobs is None
        assert top.top_logprobs is not None
        for event, scored in zip(events, top.top_logprobs, strict=True):
            assert event.top_logprobs is not None
            assert scored == pytest.approx(dict(event.top_logprobs), abs=1e-4)

    @pytest.mark.parametrize("pooling", ["last", "mean"])
    def test_embeddings_do_not_depend_on_the_batch(self, generator: Generator, pooling: Pooling) -> None:
        texts = [*PROMPTS, [7] * 64]
        together = generator.embed(texts, pooling)
        assert len({len(embedding) for embedding in together}) == 1
        for text, embedding in zip(texts, together, strict=True):
            assert embedding.typecode == "f"
            assert embedding.tolist() == pytest.approx(generator.embed([text], pooling)[0].tolist(), abs=1e-4)
        assert together[0] != together[1]

    def test_the_mean_is_over_all_tokens(self, generator: Generator) -> None:
        prompt = PROMPTS[0]
        states = generator.embed([prompt[:end] for end in range(1, len(prompt) + 1)], "last")
        means = [sum(values) / len(values) for values in zip(*states, strict=True)]
        assert generator.embed([prompt], "mean")[0].tolist() == pytest.approx(means, abs=1e-4)

    def test_texts_that_cannot_be_embedded_are_refused(self, generator: Generator) -> None:
        with pytest.raises(TextTooLong, match=r"65 tokens.*length is 64"):
            generator.embed([[5], [5] * 65], "last")
        for bad in ([5, -1], []):
            with pytest.raises(InvalidArgument, match="ids"):
                generator.embed([bad], "last")
        assert generator.embed([], "mean") == []

    def test_a_single_beam_is_the_greedy_answer(self, generator: Generator) -> None:
        for prompt in PROMPTS:
            search = BeamSearchRequest(
                prompt=prompt, max_new_tokens=6, params=BeamSearchParams(num_beams=1, length_penalty=0)
            )
            ((beam,),) = generator.beam_search([search])
            assert list(beam.tokens) == self.answer(generator, prompt)
            (scores,) = generator.score([ScoringRequest(ids=[*prompt, *beam.tokens], start=len(prompt))])
            assert beam.score == pytest.approx(sum(scores.logprobs), abs=1e-3)

    def test_beams_are_different_sequences_with_their_scores(self, generator: Generator) -> None:
        stops = frozenset(range(30, 60))
        params = BeamSearchParams(num_beams=4, num_return_sequences=4, length_penalty=0.5)
        searches = [
            BeamSearchRequest(prompt=prompt, max_new_tokens=7, stop_token_ids=stops, params=params)
            for prompt in PROMPTS
        ]
        for search, beams in zip(searches, generator.beam_search(searches), strict=True):
            assert len({beam.tokens for beam in beams}) == 4
            assert [beam.score for beam in beams] == sorted((beam.score for beam in beams), reverse=True)
            start = len(search.prompt)
            texts = [ScoringRequest(ids=[*search.prompt, *beam.tokens], start=start) for beam in beams]
            for beam, scores in zip(beams, generator.score(texts), strict=True):
                assert not stops & set(beam.tokens[:-1])
                assert len(beam.tokens) == 7 or beam.tokens[-1] in stops
                expected = sum(scores.logprobs) / len(beam.tokens) ** 0.5
                assert beam.score == pytest.approx(expected, abs=1e-3)
            (alone,) = generator.beam_search([search])
            assert [beam.tokens for beam in alone] == [beam.tokens for beam in beams]

    def test_beams_end_where_the_context_ends(self, generator: Generator) -> None:
        search = BeamSearchRequest(prompt=[5] * 60, max_new_tokens=50)
        (beams,) = generator.beam_search([search])
        assert [len(beam.tokens) for beam in beams] == [4]
        with pytest.raises(PromptTooLong, match=r"64 tokens.*length is 64"):
            generator.beam_search([search, BeamSearchRequest(prompt=[5] * 64)])
        with pytest.raises(InvalidArgument, match="token ids"):
            generator.beam_search([BeamSearchRequest(prompt=[5, -1])])
        assert generator.beam_search([]) == []
