"""Tests of turns with tool calls that end early."""

import pytest

from litgpt.domain.chat.messages import Message
from tests.application.test_tool_calls import Talk, call_text, temperature


def interrupts() -> str:
    """Stop."""
    raise KeyboardInterrupt


def test_a_turn_that_ends_between_a_call_and_its_result_leaves_no_trace() -> None:
    talk = Talk(b"Hi.", call_text("temperature", {"city": "a"}), b"Hot.", tools=[temperature, interrupts])
    talk.send("Hello")
    before = talk.messages
    chunks = talk.conversation.send("Warm?", talk.turn)
    while next(chunks).completion is None:
        pass
    chunks.close()  # type: ignore[attr-defined] # a generator
    assert talk.messages == before
    talk.answers = [call_text("temperature", {"city": "a"}), call_text("interrupts", {}), b"Hot."]
    with pytest.raises(KeyboardInterrupt):
        talk.send()
    assert talk.messages == before
    talk.send()
    assert talk.messages[-1] == Message("assistant", "Hot.")


def test_a_turn_that_ends_after_a_result_keeps_it() -> None:
    talk = Talk(call_text("temperature", {"city": "a"}), b"Hot.", tools=[temperature])
    chunks = talk.conversation.send("Warm?", talk.turn)
    while next(chunks).text != "H":
        pass
    chunks.close()  # type: ignore[attr-defined]
    assert [message.role for message in talk.messages] == ["user", "assistant", "tool", "assistant"]
