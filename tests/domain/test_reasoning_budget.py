"""Tests of the constraint that ends the reasoning of an answer, in tokens that are bytes."""

from collections.abc import Iterable

import attrs
import pytest

from litgpt.domain.constraints.reasoning import ReasoningConstraint
from litgpt.testing import ByteTokenizer

STOP = 257
END = b"</think>"


def constraint(budget: int | None, *, in_reasoning: bool) -> ReasoningConstraint:
    return ReasoningConstraint(
        begin="<think>",
        end=END.decode(),
        budget=budget,
        end_ids=tuple(END),
        in_reasoning=in_reasoning,
        vocab_size=300,
        stop_token_ids=frozenset((STOP,)),
        decoder=lambda: ByteTokenizer().decoder().push,
    )


def answer(limited: ReasoningConstraint, proposed: Iterable[int]) -> bytes:
    """Return the answer of a model that proposes tokens, and continues with those left after forced ones."""
    text = bytearray()
    for token in proposed:
        for forced in iter(lambda: list(limited.forced()), []):
            mask = limited.mask()
            assert isinstance(mask, bytes)
            assert [at for at in range(8 * len(mask)) if mask[at >> 3] >> (at & 7) & 1] == forced[:1]
            for it in forced:
                limited.advance(it)
            text += bytes(forced)
        assert limited.mask() == frozenset()
        limited.advance(token)
        text.append(token)
    return bytes(text)


@pytest.mark.parametrize(
    ("proposed", "in_reasoning", "expected"),
    [
        ("abcdef", True, "abc</think>def"),
        ("a</think>bcdefgh", True, "a</think>think>bcdefgh"),
        ("ab<cdef", True, "ab</think>cdef"),
        ("<think>abcdef", False, "<think>abc</think>def"),
        (" \n<think>abcdef", False, " \n<think>abc</think>def"),
        ("x<think>abcdef", False, "x<think>abcdef"),
        ("<thin abcdef", False, "<thin abcdef"),
        ("abcé", True, "abc</think>é"),
        ("abé🦙", True, "abé</think>🦙"),
        ("ab🦙c", True, "ab🦙</think>c"),
        ("abcd\n<think>ef", True, "abc</think>d\n<think>ef"),
        ("abc\n<think>ef", True, "abc</think>\n<think></think>ef"),
    ],
)
def test_reasoning_of_three_tokens(proposed: str, expected: str, *, in_reasoning: bool) -> None:
    limited = constraint(3, in_reasoning=in_reasoning)
    assert answer(limited, proposed.encode()).decode() == expected
    assert not limited.is_finished


@pytest.mark.parametrize("text", ["abc</think>def", "<think>abc</think>def", "ab"])
def test_what_ends_before_is_unchanged(text: str) -> None:
    for budget in (None, 100):
        limited = constraint(budget, in_reasoning=not text.startswith("<"))
        assert answer(limited, text.encode()).decode() == text


def test_bytes_that_are_no_character_end_too() -> None:
    assert answer(constraint(0, in_reasoning=True), b"a") == END + b"a"
    text = b"\xf0\xf0\xf0\xf0"
    assert answer(constraint(1, in_reasoning=True), text) == text[:2] + END + text[2:]
    invisible = constraint(1, in_reasoning=True)
    for _ in range(4):
        assert not invisible.forced()
        invisible.advance(STOP)
    assert bytes(invisible.forced()) == END


@pytest.mark.parametrize(
    ("budget", "proposed", "expected"),
    [
        (3, "<c>a<m>abcdef", "<c>a<m>abc<e>def"),
        (3, "<c>a<m>abc<s><c>a<m>de", "<c>a<m>abc<e><s><c>a<m><e>de"),
        (5, "<c>a<m>ab<e><s><c>a<m>cde", "<c>a<m>ab<e><s><c>a<m><e>cde"),
        (3, "<s><c>a<m>abcdef", "<s><c>a<m>abc<e>def"),
        (3, "<c>f<m>abcdef", "<c>f<m>abcdef"),
        (3, "<c>a<m>abc<s><c>f<m>de", "<c>a<m>abc<e><s><c>f<m>de"),
    ],
)
def test_messages_of_a_channel_have_a_budget_together(budget: int, proposed: str, expected: str) -> None:
    limited = attrs.evolve(
        constraint(budget, in_reasoning=False),
        begin="<c>a<m>",
        end="<e>",
        end_ids=tuple(b"<e>"),
        header="<s>",
    )
    assert answer(limited, proposed.encode()).decode() == expected


def test_a_copy_has_no_tokens() -> None:
    limited = constraint(3, in_reasoning=True)
    copy = limited.copy()
    answer(limited, b"abcd")
    assert answer(copy, b"abcd") == b"abc" + END + b"d"


def test_a_mark_with_an_invisible_token_is_forced_to_its_end() -> None:
    pieces = {10: "</", 11: "", 12: "think>"}
    constraint = ReasoningConstraint(
        begin="<think>",
        end="</think>",
        end_ids=(10, 11, 12),
        in_reasoning=True,
        vocab_size=16,
        stop_token_ids=frozenset({0}),
        decoder=lambda: lambda token: pieces.get(token, "a"),
        budget=2,
    )
    for token in (1, 1, 10):
        constraint.advance(token)
    assert constraint.forced() == (11, 12)
    constraint.advance(11)
    assert constraint.forced() == (12,)
