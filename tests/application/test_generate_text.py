import time
from collections.abc import Sequence

import attrs
import pytest

from litgpt.application.generate_text import GenerateText
from litgpt.domain.errors import PromptTooLong
from litgpt.domain.generation.request import Completion, CompletionChunk, GenerationRequest
from litgpt.domain.generation.stop_strings import StopStrings
from litgpt.testing import ByteTokenizer, ScriptedGenerator

END = 257
ENDS = frozenset({END})


def events(script: Sequence[int], *, stop: tuple[str, ...] = (), at_most: int = 20) -> list[CompletionChunk]:
    text = GenerateText(ByteTokenizer(), ScriptedGenerator(script))
    return list(
        text.stream(
            [GenerationRequest(prompt=[1], max_new_tokens=at_most, stop_token_ids=ENDS)],
            stop_strings=StopStrings(stop),
        )
    )


def answer(script: Sequence[int], *, stop: tuple[str, ...] = (), at_most: int = 20) -> Completion:
    completion = events(script, stop=stop, at_most=at_most)[-1].completion
    assert completion is not None
    return completion


def test_a_character_waits_until_it_is_whole() -> None:
    assert [event.text for event in events([*"é!".encode(), END])] == ["", "é", "!", ""]


def test_an_incomplete_character_at_the_end_is_a_replacement_character() -> None:
    assert answer("é".encode()[:1], at_most=1).text == "\N{REPLACEMENT CHARACTER}"


def test_every_token_is_an_event_and_only_the_last_has_the_completion() -> None:
    actual = events([*b"hi", END])
    assert [event.token for event in actual] == [*b"hi", END]
    assert [event.completion is not None for event in actual] == [False, False, True]


def test_an_end_token_is_in_the_ids_and_not_in_the_text() -> None:
    completion = answer([*b"hi", END])
    assert (completion.text, completion.token_ids) == ("hi", (*b"hi", END))
    assert (completion.finish_reason, completion.completion_tokens, completion.prompt_tokens) == (
        "stop",
        3,
        1,
    )


def test_max_new_tokens_ends_an_answer_with_finish_reason_length() -> None:
    completion = answer(b"hello", at_most=3)
    assert (completion.text, completion.finish_reason) == ("hel", "length")


def test_a_stop_string_ends_the_answer_before_itself() -> None:
    completion = answer(b"one two three", stop=("two",))
    assert (completion.text, completion.finish_reason) == ("one ", "stop")


def test_a_partial_stop_string_is_not_emitted() -> None:
    output = "".join(event.text for event in events(b"one twelve", stop=("two",), at_most=10))
    assert output == "one twelve"
    pieces = [event.text for event in events(b"one two", stop=("two",), at_most=7)]
    assert "t" not in "".join(pieces)


def test_text_that_was_held_back_comes_when_the_answer_ends() -> None:
    assert answer(b"a tw", stop=("two",), at_most=4).text == "a tw"


def test_an_answer_that_stops_does_not_end_the_others() -> None:
    generator = ScriptedGenerator(b"abcdef")
    text = GenerateText(ByteTokenizer(), generator)
    requests = [GenerationRequest(prompt=[1], max_new_tokens=at_most) for at_most in (6, 2, 0)]
    first, two, none = text.complete(requests, stop_strings=StopStrings(("d",)))
    assert (first.text, first.finish_reason) == ("abc", "stop")
    assert (two.text, two.finish_reason) == ("ab", "length")
    assert (none.text, none.token_ids, none.finish_reason) == ("", (), "length")


def test_log_probabilities_come_with_the_tokens_on_request() -> None:
    text = GenerateText(ByteTokenizer(), ScriptedGenerator(b"ab"))
    with_them, without = text.complete(
        [GenerationRequest(prompt=[1], max_new_tokens=2, logprobs=value) for value in (True, False)]
    )
    assert with_them.logprobs == (-1.0, -1.0)
    assert without.logprobs is None


def test_a_prompt_too_long_is_refused_at_the_call() -> None:
    text = GenerateText(ByteTokenizer(), ScriptedGenerator(b"a", context=4))
    with pytest.raises(PromptTooLong):
        text.stream([GenerationRequest(prompt=[1] * 4)])


def test_a_stream_generates_only_on_demand_and_not_after_close() -> None:
    text = GenerateText(ByteTokenizer(), ScriptedGenerator(b"abc"))
    stream = text.stream([GenerationRequest(prompt=[1], max_new_tokens=3)])
    assert next(stream).text == "a"
    stream.close()
    assert list(stream) == []


@attrs.frozen
class _LongPieces:
    """A decoder whose tokens are long texts."""

    def push(self, _token: int) -> str:
        return "x" * 100_000

    def finish(self) -> str:
        return ""


def test_a_long_answer_is_joined_once_and_not_copied_for_each_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ByteTokenizer, "decoder", lambda _: _LongPieces())
    started = time.process_time()
    assert len(answer([1] * 1000, at_most=1000).text) == 1000 * 100_000
    assert time.process_time() - started < 4  # copied for each token, it takes ten times as long
