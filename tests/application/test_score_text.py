"""Tests of scoring with fakes."""

import math
from typing import Any

import pytest

from litgpt.application.scoring.encode_continuation import encode_continuation
from litgpt.application.scoring.parse_texts import parse_scored, parse_texts
from litgpt.application.scoring.score_text import ScoreText
from litgpt.domain.errors import InvalidArgument, TextTooLong, WrongType
from litgpt.testing import ByteTokenizer, ScriptedGenerator


def score(script: str = "ab", *, adds_bos: bool = False, context: int = 16) -> ScoreText:
    return ScoreText(ByteTokenizer(adds_bos=adds_bos), ScriptedGenerator(script.encode(), context=context))


def test_spaces_before_a_continuation_are_part_of_it() -> None:
    request = encode_continuation(ByteTokenizer(), "Hi  ", "you")
    assert (bytes(request.ids), request.start) == (b"Hi  you", 2)


def test_an_empty_prompt_is_the_token_that_begins_a_text() -> None:
    tokenizer = ByteTokenizer()
    for prompt, continuation in (("", "you"), ("  ", "you")):
        request = encode_continuation(tokenizer, prompt, continuation)
        assert request.ids == [tokenizer.bos_id, *(prompt + continuation).encode()]
        assert request.start == 1


def test_the_token_that_begins_a_text_is_part_of_the_prompt() -> None:
    tokenizer = ByteTokenizer(adds_bos=True)
    request = encode_continuation(tokenizer, "Hi", " you")
    assert (request.ids, request.start) == ([tokenizer.bos_id, *b"Hi you"], 3)


def test_scores_are_in_the_order_of_the_prompts_and_continuations() -> None:
    first, second = score().continuations([("x", ["ab", "b!"]), ("y", ["c"])])
    assert [(one.logprob, one.is_greedy, bytes(one.token_ids)) for one in first] == [
        (-2.0, True, b"ab"),
        (-3.0, False, b"b!"),
    ]
    assert [one.logprobs for one in second] == [(-2.0,)]
    assert score().continuations([("x", []), ("y", ["a"])])[0] == []


def test_the_first_token_of_a_text_has_no_logprob() -> None:
    one, other = score().logprobs(["a", "xab"])
    assert (one.token_ids, one.logprobs) == ((97,), (None,))
    assert other.logprobs == (None, -1.0, -1.0)


def test_the_perplexity_is_that_of_the_mean_over_all_windows() -> None:
    text = "a" + "ab" * 20 + "!!"
    assert score().perplexity(text) == pytest.approx(math.exp((40 + 2 * 2) / 42))
    assert score().perplexity(text, stride=3) == pytest.approx(math.exp((40 + 2 * 2) / 42))


@pytest.mark.parametrize("stride", [0, 16, 1.5, True])
def test_a_stride_is_shorter_than_the_context(stride: Any) -> None:
    with pytest.raises(InvalidArgument, match="stride must be an integer from 1 to 15"):
        score().perplexity("abc", stride)


def test_a_text_of_one_token_has_no_perplexity() -> None:
    for text in ("", "a"):
        with pytest.raises(InvalidArgument, match="at least two tokens"):
            score().perplexity(text)


def test_texts_beyond_the_context_are_refused() -> None:
    with pytest.raises(TextTooLong, match="17 tokens"):
        score().logprobs(["abc", "a" * 17])
    with pytest.raises(TextTooLong, match="17 tokens"):
        score().continuations([("a" * 16, ["b"])])


@pytest.mark.parametrize(
    ("prompt", "continuations", "error", "message"),
    [
        ("Hi", "you", WrongType, "continuations must be a list of texts, not str"),
        ("Hi", [1], WrongType, "continuations must be a list of texts, not int"),
        ("Hi", [""], InvalidArgument, "continuations must be free of empty texts"),
        ("Hi", None, WrongType, "not None"),
        (3, ["a"], WrongType, "prompt must be a text, or a list of texts, not int"),
        (["Hi", 3], [["a"], ["b"]], WrongType, "prompt must be"),
        (["Hi"], ["a"], WrongType, "a list with a list of texts for each prompt"),
        (["Hi"], [["a"], ["b"]], InvalidArgument, r"as long as the list of prompts \(1\)"),
    ],
)
def test_wrong_arguments_are_refused(
    prompt: Any, continuations: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        parse_scored(prompt, continuations)


def test_texts_are_not_empty() -> None:
    assert parse_texts("text", "Hi") == (["Hi"], False)
    assert parse_texts("text", ("a", "b")) == (["a", "b"], True)
    with pytest.raises(InvalidArgument, match="text must be free of empty texts"):
        parse_texts("text", ["a", ""])
    with pytest.raises(WrongType, match="text must be a text, or a list of texts"):
        parse_texts("text", b"a")
