"""Which replica a prompt goes to."""

import random
from typing import Any

import pytest

from litgpt.application.serving.prompt_affinity import BLOCK, PromptAffinity, prompt_text

LONG = "".join(random.Random(0).choices("abcdefgh ", k=40 * BLOCK))  # noqa: S311
OTHER = "".join(random.Random(1).choices("abcdefgh ", k=40 * BLOCK))  # noqa: S311
IDLE = {0: 0, 1: 0, 2: 0}


def test_a_longer_conversation_goes_to_the_replica_that_has_its_beginning() -> None:
    affinity = PromptAffinity()
    owners = {text: affinity.select(text, IDLE) for text in (LONG, OTHER, "short")}
    assert sorted(owners.values()) == [0, 1, 2]
    for text in (LONG, OTHER, LONG):
        assert affinity.select(text + "and more", IDLE) == owners[text]


def test_the_longest_beginning_counts() -> None:
    affinity = PromptAffinity()
    common, first = LONG[: 5 * BLOCK], LONG[: 9 * BLOCK]
    assert affinity.select(common, {0: 0}) == 0
    assert affinity.select(first, {1: 0}) == 1
    assert affinity.select(LONG, IDLE) == 1
    assert affinity.select(common + OTHER, IDLE) == 0  # both have it, and 0 was selected longer ago


@pytest.mark.parametrize(
    ("outstanding", "selected"),
    [({0: 4, 1: 0}, 0), ({0: 5, 1: 0}, 1), ({0: 15, 1: 10}, 0), ({0: 16, 1: 10}, 1), ({0: 300, 1: 200}, 0)],
)
def test_a_replica_that_is_much_busier_is_not_preferred(outstanding: dict[int, int], selected: int) -> None:
    affinity = PromptAffinity()
    affinity.select(LONG, {0: 0})
    assert affinity.select(LONG, outstanding) == selected


def test_a_common_system_prompt_spreads_over_the_replicas_with_the_load() -> None:
    affinity, outstanding = PromptAffinity(), dict.fromkeys(range(4), 0)
    for number in range(64):
        outstanding[affinity.select(LONG + str(number), outstanding)] += 1
    assert max(outstanding.values()) - min(outstanding.values()) <= 4


def test_unknown_prompts_go_to_the_least_busy_replica_and_in_turn_among_equals() -> None:
    affinity = PromptAffinity()
    assert [affinity.select("short", IDLE) for _ in range(6)] == [0, 1, 2, 0, 1, 2]
    assert affinity.select(OTHER, {0: 2, 1: 3, 2: 1}) == 2


def test_what_a_replica_had_is_forgotten_when_it_is_started_again() -> None:
    affinity = PromptAffinity()
    affinity.select(LONG, {1: 0})
    affinity.forget(1)
    assert not affinity._holders
    assert affinity.select("short", {1: 0}) == 1
    assert affinity.select(LONG, IDLE) == 0


def test_the_table_is_bounded_and_the_least_recently_used_prefixes_are_forgotten_first() -> None:
    affinity = PromptAffinity(max_prefixes=100)
    affinity.select(LONG, {2: 0})
    for seed in range(20):
        affinity.select(str(seed) * 10 * BLOCK, {0: 0})
        affinity.select(LONG[: 4 * BLOCK], {2: 0})
        assert len(affinity._holders) <= 100
    assert affinity.select(LONG, IDLE) == 2
    affinity.select("x" * 10_000_000, IDLE)  # no longer than a bounded number of blocks
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
