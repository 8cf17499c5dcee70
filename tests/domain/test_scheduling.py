"""Tests of the engine's scheduler: any interleaving gives the same answers, and no page is lost."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litgpt.domain.common_prefix import MIN_SHARED, common_prefix_length
from litgpt.domain.errors import InsufficientSpace
from litgpt.domain.generation.request import GenerationRequest, TokenEvent
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.scheduling.drafts.draft_model import DraftModel
from litgpt.domain.scheduling.engine import Engine
from litgpt.domain.scheduling.events import FailedRequest
from litgpt.domain.scheduling.page_table import Pages, PageTable
from litgpt.domain.scheduling.prefix_tree import PrefixTree
from litgpt.domain.scheduling.scheduler import StepLimits
from litgpt.domain.scheduling.sequence import WaitingQueue
from tests.domain.scripted_runner import (
    VOCABULARY,
    ScriptedConstraint,
    ScriptedRunner,
    expected_answer,
    next_token_of_draft,
)

CONTEXT = 200


def drain(engine: Engine, limit: int = 100_000) -> dict[int, list[TokenEvent]]:
    """Run an engine until all requests are finished; return the events of each."""
    answers: dict[int, list[TokenEvent]] = defaultdict(list)
    for _ in range(limit):
        if not engine.has_unfinished:
            return answers
        for event in engine.step():
            assert isinstance(event, TokenEvent)
            assert not answers[event.index] or answers[event.index][-1].finish_reason is None
            answers[event.index].append(event)
    raise AssertionError("the engine does not finish")


def tokens(events: Sequence[TokenEvent]) -> list[int]:
    return [event.token for event in events]


def request(*prompt: int, max_new_tokens: int = 5, priority: int = 0) -> GenerationRequest:
    return GenerationRequest(prompt=prompt, max_new_tokens=max_new_tokens, priority=priority)


def draft_model(drafting: ScriptedRunner, runner: ScriptedRunner, context: int = CONTEXT) -> DraftModel:
    """Return a draft model that proposes from the first token on."""
    drafter = DraftModel(drafting, runner.costs, context, VOCABULARY)
    drafter.budget.credit = 1e9
    return drafter


prompts = st.builds(
    lambda shared, kind, own: [kind] * shared + own,
    st.integers(0, 3 * MIN_SHARED),
    st.integers(0, 1),
    st.lists(st.integers(0, 6), min_size=1, max_size=40),
)
requests = st.builds(
    lambda prompt, count, priority, stops, constraint: GenerationRequest(
        prompt=prompt,
        max_new_tokens=count,
        priority=priority,
        stop_token_ids=frozenset() if constraint else frozenset(stops),
        constraint=constraint,
    ),
    prompts,
    st.integers(1, 30),
    st.integers(-1, 1),
    st.sets(st.integers(0, 6), max_size=1),
    st.none() | st.builds(ScriptedConstraint, st.integers(0, 9), st.integers(1, 40)),
)
actions = st.lists(
    st.one_of(
        requests.map(lambda it: ("add", it)),
        st.integers(0, 30).map(lambda at: ("cancel", at)),
        st.integers(1, 8).map(lambda count: ("step", count)),
        st.just(("interrupt", 0)),
        st.just(("interrupt draft", 0)),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(
    actions=actions,
    num_pages=st.integers(1, 60),
    cached=st.integers(0, 40),
    can_truncate=st.booleans(),
    shares_pages=st.booleans(),
    failures=st.sets(st.integers(1, 30), max_size=2),
    draft_accuracy=st.none() | st.floats(0, 1),
    draft_failures=st.sets(st.integers(1, 30), max_size=2),
)
def test_any_interleaving_gives_the_same_answers_and_loses_no_page(  # noqa: C901 - a loop over actions
    actions: list[tuple[str, object]],
    num_pages: int,
    cached: int,
    failures: set[int],
    draft_accuracy: float | None,
    draft_failures: set[int],
    *,
    can_truncate: bool,
    shares_pages: bool,
) -> None:
    runner = ScriptedRunner(
        num_pages, 4, cached, can_truncate=can_truncate, shares_pages=shares_pages, failures=failures
    )
    drafting = ScriptedRunner(
        failures=draft_failures,
        next_token=next_token_of_draft(draft_accuracy or 0),
        seconds=0.1,
        logprob=-0.1,
    )
    engine = Engine(runner, CONTEXT, None if draft_accuracy is None else draft_model(drafting, runner))
    added: dict[int, GenerationRequest] = {}
    answers: dict[int, list[TokenEvent]] = defaultdict(list)
    cancelled: set[int] = set()
    failed: set[int] = set()

    def step() -> None:
        for event in engine.step():
            assert event.index not in cancelled | failed
            if isinstance(event, FailedRequest):
                assert isinstance(event.error, InsufficientSpace)
                failed.add(event.index)
            else:
                answers[event.index].append(event)

    for action, value in actions:
        if action == "add":
            assert isinstance(value, GenerationRequest)
            added[engine.add(value)] = value
        elif action == "cancel" and value in added:
            assert isinstance(value, int)
            engine.cancel(value)
            cancelled.add(value)
        elif action == "interrupt" and engine.scheduler.has_unfinished:
            runner.is_interrupted = True
        elif action == "interrupt draft":
            drafting.is_interrupted = True
        for _ in range(value if action == "step" and isinstance(value, int) else 0):
            try:
                step()
            except KeyboardInterrupt:
                continue
    runner.is_interrupted = drafting.is_interrupted = False
    for _ in range(20_000):
        if not engine.has_unfinished:
            break
        step()
    assert not engine.has_unfinished
    for index, it in added.items():
        expected = expected_answer(it, CONTEXT)
        if index in cancelled | failed:
            assert tokens(answers[index]) == expected[: len(answers[index])]
        else:
            assert tokens(answers[index]) == expected
            assert [event.finish_reason is not None for event in answers[index]] == [False] * (
                len(expected) - 1
            ) + [True]
    assert len(failed) <= len(failures)
    assert runner.num_open == len(engine.prefixes)
    assert drafting.num_open <= 4
    engine.close()
    assert runner.num_open == drafting.num_open == 0
    assert engine.pages.num_used == 0


def test_pages_bound_the_running_sequences() -> None:
    runner = ScriptedRunner(num_pages=20, page_size=4, max_cached_pages=0)
    engine = Engine(runner, CONTEXT)
    asked = [request(at, *[5] * 10, max_new_tokens=30) for at in range(7)]
    for it in asked:
        engine.add(it)
    used = 0
    answers: dict[int, list[int]] = defaultdict(list)
    while engine.has_unfinished:
        for event in engine.step():
            assert isinstance(event, TokenEvent)
            answers[event.index].append(event.token)
        used = max(used, engine.pages.num_used)
    assert used <= 20
    assert {at: expected_answer(it, CONTEXT) for at, it in enumerate(asked)} == answers


def test_a_single_sequence_may_exceed_the_pages() -> None:
    engine = Engine(ScriptedRunner(num_pages=2, page_size=4), CONTEXT)
    it = request(*[3] * 50, max_new_tokens=20)
    engine.add(it)
    assert tokens(drain(engine)[0]) == expected_answer(it, CONTEXT)


def test_a_long_prompt_does_not_stop_running_answers() -> None:
    runner = ScriptedRunner()
    engine = Engine(runner, CONTEXT)
    engine.add(request(1, max_new_tokens=60))
    engine.step()
    engine.add(request(*[2] * 150, max_new_tokens=1))
    events = drain(engine)
    assert len(events[0]) == 59
    assert max(map(sum, runner.steps)) <= 1 + runner.limits.shared_step_tokens


@pytest.mark.parametrize("num_prompts", [1, 2])
def test_prompts_wait_for_steps_without_them_if_shared_steps_take_long(num_prompts: int) -> None:
    limits = StepLimits(shared_step_tokens=12)
    runner = ScriptedRunner(limits=limits, num_pages=10_000, seconds=1, seconds_per_token=1)
    engine = Engine(runner, 10 * CONTEXT)
    engine.add(request(1, max_new_tokens=5 * CONTEXT))
    for _ in range(3):
        engine.step()
    decoding, before = 2, len(runner.steps)
    prompts = [engine.add(request(*[2 + at] * 600, max_new_tokens=1)) for at in range(num_prompts)]
    first = runner.costs.total
    while not {event.index for event in engine.step()} & set(prompts):
        pass
    mean = (runner.costs.total - first) / (len(runner.steps) - before)
    assert mean == pytest.approx((1 + 1.2 * num_prompts) * decoding, rel=0.03)
    assert {sum(step) for step in runner.steps[before:-1]} == {1, 1 + 12 * num_prompts}


def test_prompts_do_not_wait_if_shared_steps_take_no_longer() -> None:
    runner = ScriptedRunner(seconds=1, seconds_per_token=0)
    engine = Engine(runner, CONTEXT)
    engine.add(request(1, max_new_tokens=60))
    for _ in range(3):
        engine.step()
    before = len(runner.steps)
    engine.add(request(*[2] * 100, max_new_tokens=1))
    drain(engine)
    assert all(len(step) == 2 for step in runner.steps[before : before + 100 // 4])


@pytest.mark.parametrize(
    ("num_decoding", "num_prompts", "expected"),
    [(0, 1, 512), (1, 1, 12), (1, 9, 108), (100, 1, 200), (5, 200, 512)],
)
def test_prompts_get_a_part_of_the_step_that_grows_with_their_number(
    num_decoding: int, num_prompts: int, expected: int
) -> None:
    assert StepLimits().prompt_tokens(num_decoding, num_prompts) == expected


def test_prompts_with_a_common_prefix_wait_for_the_first_of_them() -> None:
    runner = ScriptedRunner()
    engine = Engine(runner, CONTEXT)
    system = [1, 2] * MIN_SHARED
    for at in range(5):
        engine.add(request(*system, at, max_new_tokens=1))
    answers = drain(engine)
    assert sum(map(sum, runner.steps)) == len(system) + 5
    assert [answers[at][0].cached_tokens for at in range(5)] == [0] + [len(system)] * 4


def test_answers_that_repeat_what_was_before_take_fewer_steps() -> None:
    runner = ScriptedRunner(next_token=lambda tokens: tokens[-4] if len(tokens) % 40 else 6)
    engine = Engine(runner, CONTEXT)
    engine.add(request(*[1, 2, 3, 4] * 3, max_new_tokens=100))
    answer = tokens(drain(engine)[0])
    expected = [1, 2, 3, 4] * 3
    while len(expected) < 112:
        expected.append(runner.next_token(expected))
    assert answer == expected[12:]
    assert len(runner.steps) < 30
    assert runner.sequences[0].tokens == expected[:-1]


def test_answers_without_repetitions_are_computed_with_few_drafts() -> None:
    runner = ScriptedRunner()
    engine = Engine(runner, CONTEXT)
    engine.add(request(*[1, 2, 3] * 20, max_new_tokens=120))
    drain(engine)
    drafts = sum(map(sum, runner.steps[1:])) - len(runner.steps[1:])
    assert 0 < drafts < 20


def test_a_request_that_shares_nothing_and_one_without_drafts() -> None:
    runner = ScriptedRunner(next_token=lambda tokens: tokens[-1])
    engine = Engine(runner, CONTEXT)
    for _ in range(2):
        private = GenerationRequest(prompt=[1] * 50, max_new_tokens=20, cache_prompt=False)
        index = engine.add(attrs.evolve(private, prompt_lookup_num_tokens=0))
        assert [event.cached_tokens for event in drain(engine)[index]] == [0] * 20
    assert runner.steps == [[50], *[[1]] * 19] * 2
    assert len(engine.prefixes) == 0


def test_several_answers_share_the_tokens_of_drafts() -> None:
    runner = ScriptedRunner(next_token=lambda tokens: tokens[-1])
    engine = Engine(runner, CONTEXT)
    for at in range(5):
        engine.add(request(at, at, at, at, max_new_tokens=20 + 10 * (at > 0)))
    drain(engine)
    assert max(map(sum, runner.steps[1:])) <= 4 + runner.limits.max_draft_tokens
    assert {sum(step) for step in runner.steps if len(step) == 5} == {20, 5}


def test_a_conversation_continues_from_its_answer() -> None:
    runner = ScriptedRunner(can_truncate=False)
    engine = Engine(runner, CONTEXT)
    first = request(*[1] * 40, max_new_tokens=10)
    engine.add(first)
    history = [*first.prompt, *tokens(drain(engine)[0])]
    runner.steps.clear()
    engine.add(request(*history, 3, 4, max_new_tokens=1))
    assert drain(engine)[1][0].cached_tokens == len(history) - 1
    assert runner.steps == [[3]]


def test_cached_prefixes_are_bounded_and_the_least_recently_used_go_first() -> None:
    runner = ScriptedRunner(max_cached_pages=30)
    engine = Engine(runner, CONTEXT)
    for at in (0, 1, 2, 0, 3):
        engine.add(request(*[at] * 39, 6, max_new_tokens=1))
        drain(engine)
        assert engine.prefixes.num_pages <= 30
    cached = {}
    for at in (0, 3, 1):
        index = engine.add(request(*[at] * 39, 5, max_new_tokens=1))
        cached[at] = drain(engine)[index][0].cached_tokens
    assert cached == {0: 39, 3: 39, 1: 0}


def test_a_conversation_longer_than_the_bound_is_cached_alone_and_no_empty_tree_stays() -> None:
    runner = ScriptedRunner(max_cached_pages=5)
    engine = Engine(runner, CONTEXT)
    engine.add(request(*[1] * 100, max_new_tokens=2))
    drain(engine)
    index = engine.add(request(*[1] * 100, 2, max_new_tokens=2))
    assert drain(engine)[index][0].cached_tokens == 100
    assert len(engine.prefixes) == 1
    engine.close()
    assert not engine.prefixes._trees


def test_a_failed_allocation_bounds_the_sequences_until_the_engine_is_idle() -> None:
    runner = ScriptedRunner(failures={2})
    engine = Engine(runner, CONTEXT)
    asked = [request(at, 5, max_new_tokens=10) for at in range(6)]
    for it in asked:
        engine.add(it)
    answers = drain(engine)
    assert [tokens(answers[at]) for at in range(6)] == [expected_answer(it, CONTEXT) for it in asked]
    assert engine.pages.capacity < runner.num_pages
    engine.add(asked[0])
    assert engine.pages.capacity == runner.num_pages


def test_requests_of_lower_priority_are_overtaken_but_not_forever() -> None:
    engine = Engine(ScriptedRunner(limits=StepLimits(max_sequences=1)), CONTEXT)
    late = engine.add(request(1, max_new_tokens=1, priority=1))
    finished: list[int] = []
    for _ in range(WaitingQueue.PRIORITY_STEP + 5):
        engine.add(request(2, max_new_tokens=1))
        finished += [event.index for event in engine.step()]
        if late in finished:
            break
    assert finished[:3] == [1, 2, 3]
    assert WaitingQueue.PRIORITY_STEP - 2 <= len(finished) <= WaitingQueue.PRIORITY_STEP + 2


def test_ten_thousand_cancelled_requests_leave_nothing() -> None:
    runner = ScriptedRunner()
    engine = Engine(runner, CONTEXT)
    for at in range(10_000):
        index = engine.add(request(at % 7, *[at % 5] * (at % 90), max_new_tokens=1 + at % 9))
        if at % 3:
            engine.cancel(index - at % 4 if index >= 4 else index)
        if at % 2:
            engine.step()
        runner.sequences = [sequence for sequence in runner.sequences if not sequence.is_released]
    drain(engine)
    engine.close()
    assert (runner.num_open, engine.pages.num_used, len(engine.scheduler.running)) == (0, 0, 0)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["grow", "fork", "free"]), st.integers(0, 20), st.integers(0, 9))),
    st.integers(1, 5),
)
def test_pages_are_counted_as_they_are_shared_and_copied(
    actions: list[tuple[str, int, int]], page_size: int
) -> None:
    table, sequences = PageTable(1000, page_size), [Pages()]
    for action, which, amount in actions:
        pages = sequences[which % len(sequences)]
        if action == "grow":
            before, new = table.num_used, table.num_new(pages, pages.length + amount)
            table.grow(pages, pages.length + amount)
            assert table.num_used == before + new
        elif action == "fork":
            sequences.append(table.fork(pages, min(amount, pages.length)))
        else:
            table.free(pages)
        assert table.num_used == len({number for it in sequences for number in it.numbers})
        for it in sequences:
            assert len(it.numbers) == table.count(it.length)
    for it in sequences:
        table.free(it)
    assert table.num_used == 0


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2), max_size=12), max_size=12),
    st.lists(st.integers(0, 2), max_size=12),
    st.data(),
)
def test_the_tree_finds_the_longest_common_prefixes(
    entries: list[list[int]], prompt: list[int], data: st.DataObject
) -> None:
    tree: PrefixTree[tuple[int, ...]] = PrefixTree()
    kept = [(*entry, 9, at) for at, entry in enumerate(entries)]
    for entry in kept:
        tree.insert(list(entry), entry)
    for entry in data.draw(st.lists(st.sampled_from(kept), unique=True)) if kept else []:
        tree.remove(list(entry), entry)
        kept.remove(entry)
    found = [(length, set(entries)) for length, entries in tree.matches(prompt)]
    assert all(longer[0] > shorter[0] for longer, shorter in pairwise(found))
    for length, some in found:
        assert some == {entry for entry in kept if list(entry[:length]) == prompt[:length]}
    longest = max((common_prefix_length(list(entry), prompt) for entry in kept), default=0)
    assert (found[0][0] if found else 0) == longest


@given(st.lists(st.integers(0, 1), max_size=9), st.lists(st.integers(0, 1), max_size=9), st.integers(0, 9))
def test_the_common_length_is_that_of_a_loop(first: list[int], other: list[int], start: int) -> None:
    start = min(start, len(other))
    expected = 0
    for one, two in zip(first, other[start:], strict=False):
        if one != two:
            break
        expected += 1
    assert common_prefix_length(first, other, start) == expected


def test_sampling_that_runs_out_of_memory_is_tried_again_without_cached_prefixes() -> None:
    class Failing(ScriptedRunner):
        failures_of_sample = 1

        def sample(self, logits: list[int], rows: Sequence[int], states: Sequence[SamplerState]) -> list[int]:
            if engine.prefixes and self.failures_of_sample:
                self.failures_of_sample = 0
                raise InsufficientSpace("Generating", "no memory is left.")
            return super().sample(logits, rows, states)

    engine = Engine(Failing(), CONTEXT)
    engine.add(request(*[1] * 40))
    drain(engine)
    it = request(*[2] * 40)
    index = engine.add(it)
    assert tokens(drain(engine)[index]) == expected_answer(it, CONTEXT)
