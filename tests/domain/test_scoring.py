"""Tests of common prefixes and windows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litgpt.domain.common_prefix import MIN_SHARED
from litgpt.domain.errors import InvalidArgument, TextTooLong
from litgpt.domain.scoring.prefix_groups import MAX_DEPTH, PrefixGroup, group_by_prefix
from litgpt.domain.scoring.request import ScoringRequest, check_sequences
from litgpt.domain.scoring.windows import strided_windows


def groups(*requests: ScoringRequest) -> list[PrefixGroup]:
    return group_by_prefix(requests, lambda _: None)


def after(prompt: list[int], *continuation: int) -> ScoringRequest:
    return ScoringRequest(ids=[*prompt, *continuation], start=len(prompt))


def test_continuations_of_a_prompt_share_it_without_its_last_token() -> None:
    prompt = list(range(50))
    (root,) = groups(after(prompt, 1), after(prompt, 2, 3), after([7, 8], 9))
    assert (root.end, root.members) == (0, (2,))
    (group,) = root.children
    assert (group.start, group.end, group.members, group.longest) == (0, 49, (1, 0), 52)


def test_a_prefix_within_a_prefix_is_a_group_within_a_group() -> None:
    examples = list(range(40))
    first, second = [*examples, *[41] * 40], [*examples, *[42] * 40]
    (root,) = groups(after(first, 1), after(first, 2), after(second, 1), after(second, 2))
    (outer,) = root.children
    assert (outer.end, outer.members) == (40, ())
    assert [(inner.start, inner.end) for inner in outer.children] == [(40, 79), (40, 79)]


def test_whole_texts_and_short_prompts_share_nothing() -> None:
    text = list(range(100))
    short = list(range(MIN_SHARED))
    (root,) = groups(ScoringRequest(ids=text), ScoringRequest(ids=text), after(short, 1), after(short, 2))
    assert root.children == ()
    assert sorted(root.members) == [0, 1, 2, 3]


def test_lengths_that_cannot_share_are_apart() -> None:
    prompt = list(range(50))
    found = group_by_prefix([after(prompt, 1), after(prompt, 2, 3)], lambda length: length)
    assert [group.members for group in found] == [(0,), (1,)]


def test_nothing_has_no_groups() -> None:
    assert groups() == []


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 2), max_size=6), st.integers(0, 4), st.integers(1, 3)), max_size=12
    )
)
def test_each_request_is_computed_once_after_its_own_prefix(
    shapes: list[tuple[list[int], int, int]],
) -> None:
    requests = []
    for parts, rest, scored in shapes:
        prompt = [token for part in parts for token in [part] * 20] + [3] * rest + [4]
        requests.append(after(prompt, *[5] * scored))
    found: list[int] = []

    def visit(group: PrefixGroup, parent: PrefixGroup | None, depth: int) -> None:
        assert depth <= MAX_DEPTH
        prefix = requests[group.first].ids[: group.end]
        assert group.start == (0 if parent is None else parent.end)
        assert parent is None or group.end >= group.start + MIN_SHARED
        below = list(group.members)
        for child in group.children:
            assert requests[child.first].ids[: group.end] == prefix
            visit(child, group, depth + 1)
        for index in below:
            assert requests[index].ids[: group.end] == prefix
            assert group.end < requests[index].start
            assert len(requests[index].ids) <= group.longest
        found.extend(below)

    for root in groups(*requests):
        visit(root, None, 0)
    assert sorted(found) == list(range(len(requests)))


@given(st.integers(2, 80), st.integers(2, 20), st.data())
def test_windows_score_each_token_but_the_first_once(length: int, context: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, context - 1))
    ids = list(range(length))
    windows = list(strided_windows(ids, context, stride))
    assert [token for window in windows for token in window.ids[window.start :]] == ids[1:]
    assert all(len(window.ids) <= context for window in windows)
    assert all(window.start >= context - stride for window in windows[1:])


def test_a_request_scores_at_least_one_token_after_another() -> None:
    for ids, start in (([1, 2], 2), ([1], 1), ([1, 2], 0)):
        with pytest.raises(InvalidArgument, match="start must be"):
            ScoringRequest(ids=ids, start=start)


def test_sequences_are_checked() -> None:
    check_sequences([[1, 2, 9]], 3, 10)
    with pytest.raises(
        TextTooLong, match=r"The text has 3 tokens, but the context length is 2\..*perplexity"
    ):
        check_sequences([[1], [1, 2, 9]], 2, 10)
    with pytest.raises(InvalidArgument, match="from 0 to 8"):
        check_sequences([[1, 2, 9]], 3, 9)
