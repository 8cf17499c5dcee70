import pytest
from hypothesis import given
from hypothesis import strategies as some

from litgpt.domain.errors import InvalidArgument, WrongType
from litgpt.domain.generation.stop_strings import StopStringMatcher, StopStrings, parse_stop_strings


def shown(stops: list[str], pieces: list[str]) -> list[str]:
    stopper = StopStringMatcher(StopStrings(tuple(stops)))
    return [*map(stopper.push, pieces), stopper.flush()]


def test_text_without_a_stop_string_passes_at_once() -> None:
    assert shown([], ["a", "b"]) == ["a", "b", ""]
    assert shown(["END"], ["a", "b"]) == ["a", "b", ""]


def test_a_partial_stop_string_is_withheld_and_emitted_later() -> None:
    assert shown(["END"], ["a E", "N", "d"]) == ["a ", "", "ENd", ""]


def test_a_stop_string_and_what_follows_it_are_never_shown() -> None:
    assert shown(["END"], ["a E", "ND b", "c"]) == ["a ", "", "", ""]


def test_withheld_text_is_emitted_at_the_end() -> None:
    assert shown(["END"], ["a EN"]) == ["a ", "EN"]


def test_the_first_completed_stop_string_wins() -> None:
    assert "".join(shown(["cd", "bcde"], ["abcdef"])) == "ab"
    assert "".join(shown(["c", "abc"], ["xabcx"])) == "x"


@given(
    some.text("ab", max_size=20),
    some.lists(some.text("ab", min_size=1, max_size=4), min_size=1, max_size=3),
    some.data(),
)
def test_streamed_text_is_shown_the_same_for_any_chunking(
    text: str, stops: list[str], data: some.DataObject
) -> None:
    ends = [end for end in range(len(text) + 1) if any(text[:end].endswith(stop) for stop in stops)]
    expected = text
    if ends:
        longest = max(len(stop) for stop in stops if text[: ends[0]].endswith(stop))
        expected = text[: ends[0] - longest]
    pieces, rest = [], text
    while rest:
        at = data.draw(some.integers(1, len(rest)))
        pieces.append(rest[:at])
        rest = rest[at:]
    assert "".join(shown(stops, pieces)) == expected


def test_an_included_stop_string_stays_in_the_text() -> None:
    for pieces in (["one END two"], list("one END two")):
        stopper = StopStringMatcher(StopStrings(("END", "one E!", "<|user|>"), included=("END",)))
        assert "".join(map(stopper.push, pieces)) + stopper.flush() == "one END"
        assert stopper.stopped
    stopper = StopStringMatcher(StopStrings(("END", "<|user|>"), included=("END",)))
    assert stopper.push("one <|user|> END") == "one "


@pytest.mark.parametrize("stop", [3, ["a", 3], {"a": 1}])
def test_an_invalid_stop_string_is_refused(stop: object) -> None:
    with pytest.raises(WrongType, match="stop"):
        parse_stop_strings(stop)


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="empty"):
        parse_stop_strings(["a", ""])


def test_stop_strings_are_one_several_or_none() -> None:
    assert parse_stop_strings(None) == ()
    assert parse_stop_strings("a") == ("a",)
    assert parse_stop_strings(["a", "b"]) == ("a", "b")
