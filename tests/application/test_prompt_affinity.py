"""Which replica a prompt goes to."""

import random
import time
from collections.abc import Mapping
from typing import Any

import pytest

from litgpt.application.serving.prompt_affinity import BLOCK, PromptAffinity, prompt_text

LONG = "".join(random.Random(0).choices("abcdefgh ", k=40 * BLOCK))  # noqa: S311
OTHER = "".join(random.Random(1).choices("abcdefgh ", k=40 * BLOCK))  # noqa: S311
IDLE = {0: 0, 1: 0, 2: 0}


def answer(affinity: PromptAffinity, text: str, outstanding: Mapping[int, int]) -> int:
    replica = affinity.select(text, outstanding)
    affinity.remember(text, replica)
    return replica


def test_a_longer_conversation_goes_to_the_replica_that_has_its_beginning() -> None:
    affinity = PromptAffinity()
    owners = {text: answer(affinity, text, IDLE) for text in (LONG, OTHER, "short")}
    assert sorted(owners.values()) == [0, 1, 2]
    for text in (LONG, OTHER, LONG):
        assert answer(affinity, text + "and more", IDLE) == owners[text]


def test_the_longest_beginning_counts() -> None:
    affinity = PromptAffinity()
    common, first = LONG[: 5 * BLOCK], LONG[: 9 * BLOCK]
    assert answer(affinity, common, {0: 0}) == 0
    assert answer(affinity, first, {1: 0}) == 1
    assert answer(affinity, LONG, IDLE) == 1
    assert answer(affinity, common + OTHER, IDLE) == 0  # both have it, and 0 was selected longer ago


@pytest.mark.parametrize(
    ("outstanding", "selected"),
    [
        ({0: 5, 1: 1}, 0),
        ({0: 6, 1: 1}, 1),
        ({0: 1, 1: 0}, 1),
        ({0: 15, 1: 10}, 0),
        ({0: 16, 1: 10}, 1),
        ({0: 300, 1: 200}, 0),
    ],
)
def test_a_replica_that_is_much_busier_is_not_preferred(outstanding: dict[int, int], selected: int) -> None:
    affinity = PromptAffinity()
    answer(affinity, LONG, {0: 0})
    assert answer(affinity, LONG, outstanding) == selected


def test_a_common_system_prompt_spreads_over_the_replicas_with_the_load() -> None:
    affinity, outstanding = PromptAffinity(), dict.fromkeys(range(4), 0)
    for number in range(64):
        outstanding[answer(affinity, LONG + str(number), outstanding)] += 1
    assert max(outstanding.values()) - min(outstanding.values()) <= 4


def test_a_common_system_prompt_uses_all_replicas_also_with_few_requests_at_a_time() -> None:
    affinity, answered = PromptAffinity(), {0: 0, 1: 0}
    for number in range(50):
        outstanding = {0: 0, 1: 0}
        for user in range(4):
            replica = answer(affinity, f"{LONG} {number} {user}", outstanding)
            outstanding[replica] += 1
            answered[replica] += 1
        owner = answer(affinity, LONG + OTHER, {0: 0, 1: 0})  # a conversation goes on
        assert answer(affinity, LONG + OTHER + LONG, {0: 0, 1: 0}) == owner
    assert answered == {0: 100, 1: 100}


def test_a_replica_that_has_not_answered_does_not_have_the_prompt() -> None:
    affinity = PromptAffinity()
    assert [affinity.select(LONG, IDLE) for _ in range(3)] == [0, 1, 2]
    affinity.remember(LONG, 1)
    assert [affinity.select(LONG, IDLE) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize(
    "value", [[7] * 10_000_000, ["x" * 20_000_000] * 10, [{"content": [{"text": "y" * 20_000_000}] * 9}]]
)
def test_the_text_of_a_huge_request_is_bounded_and_quick(value: Any) -> None:
    before = time.thread_time()
    assert len(prompt_text({"messages": value})) <= 2048 * BLOCK
    assert time.thread_time() - before < 1


def test_unknown_prompts_go_to_the_least_busy_replica_and_in_turn_among_equals() -> None:
    affinity = PromptAffinity()
    assert [answer(affinity, "short", IDLE) for _ in range(6)] == [0, 1, 2, 0, 1, 2]
    assert answer(affinity, OTHER, {0: 2, 1: 3, 2: 1}) == 2


def test_what_a_replica_had_is_forgotten_when_it_is_started_again() -> None:
    affinity = PromptAffinity()
    answer(affinity, LONG, {1: 0})
    affinity.forget(1)
    assert not affinity._holders
    assert answer(affinity, "short", {1: 0}) == 1
    assert answer(affinity, LONG, IDLE) == 0


def test_the_table_is_bounded_and_the_least_recently_used_prefixes_are_forgotten_first() -> None:
    affinity = PromptAffinity(max_prefixes=100)
    answer(affinity, LONG, {2: 0})
    for seed in range(20):
        answer(affinity, str(seed) * 10 * BLOCK, {0: 0})
        answer(affinity, LONG[: 4 * BLOCK], {2: 0})
        assert len(affinity._holders) <= 100
    assert answer(affinity, LONG, IDLE) == 2
    answer(affinity, "x" * 10_000_000, IDLE)  # no longer than a bounded number of blocks
    assert len(affinity._holders) <= 100


@pytest.mark.parametrize(
    ("shorter", "longer"),
    [
        ({"prompt": "One two"}, {"prompt": "One two three"}),
        ({"prompt": [1, 2, 3]}, {"prompt": [1, 2, 3, 4], "temperature": 0}),
        (
            {"messages": [{"role": "user", "content": "Hi"}], "stream": True},
            {"messages": [{"content": "Hi", "role": "user"}, {"role": "assistant", "content": "Hello"}]},
        ),
        ({"instructions": "Be brief.", "input": "Hi"}, {"input": "Hi you", "instructions": "Be brief."}),
        (
            {"model": "m", "tools": [{"a": 1}], "messages": [1]},
            {"messages": [1, 2], "tools": [{"a": 1}], "model": "m"},
        ),
    ],
)
def test_texts_of_a_prompt_and_of_a_longer_one_begin_alike(shorter: Any, longer: Any) -> None:
    assert prompt_text(longer).startswith(prompt_text(shorter))


@pytest.mark.parametrize(
    "body", [{}, {"messages": None}, {"messages": 5, "tools": True}, {"prompt": [[1], {}, None]}]
)
def test_fields_that_are_not_valid_have_a_text_as_well(body: Any) -> None:
    assert isinstance(prompt_text(body), str)


def test_prompts_of_different_models_are_different() -> None:
    first, second = ({"model": model, "prompt": "Hi"} for model in ("base", "base:adapter"))
    assert prompt_text(first) != prompt_text(second)
