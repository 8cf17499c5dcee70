from collections.abc import Sequence

import pytest

from litgpt.application.chat import Conversation, TurnOptions
from litgpt.application.generate_text import GenerateText
from litgpt.application.render_prompt import RenderPrompt
from litgpt.domain.chat.messages import Message
from litgpt.domain.errors import InvalidArgument, PromptTooLong
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.stop_strings import StopStrings
from litgpt.testing import ByteTokenizer, ScriptedGenerator

END = 257


def request(ids: list[int]) -> GenerationRequest:
    return GenerationRequest(prompt=ids, max_new_tokens=20, stop_token_ids=frozenset({END}))


def talk(
    script: Sequence[int] = (*b"yes", END), context: int = 1000
) -> tuple[Conversation, ScriptedGenerator]:
    tokenizer, generator = ByteTokenizer(), ScriptedGenerator(script, context)
    generate = GenerateText(tokenizer, generator)
    return Conversation(RenderPrompt(tokenizer, None), generate), generator


def say(conversation: Conversation, text: str, *, stop: tuple[str, ...] = ()) -> str:
    return "".join(
        event.text
        for event in conversation.send(text, TurnOptions(conversation.renderer, request, StopStrings(stop)))
    )


def test_both_sides_are_remembered() -> None:
    conversation, generator = talk()
    assert [say(conversation, "one?"), say(conversation, "two?")] == ["yes", "yes"]
    expected = [("user", "one?"), ("assistant", "yes"), ("user", "two?"), ("assistant", "yes")]
    assert [(message.role, message.content) for message in conversation.messages] == expected
    prompt = bytes(value for value in generator.requests[1].prompt if value < 256).decode()
    assert prompt == "one?yestwo?"


def test_earlier_turns_are_not_prefilled_again() -> None:
    conversation, generator = talk()
    say(conversation, "This is the first question, isn't it?")
    turn = TurnOptions(conversation.renderer, request)
    (completion,) = [it.completion for it in conversation.send("two?", turn) if it.completion]
    # All of the first turn but its last token, which the model never looked back at.
    assert completion.cached_tokens == len(generator.requests[0].prompt) + len(b"yes")


def test_an_answer_that_was_cut_is_remembered_as_it_was_shown() -> None:
    conversation, _ = talk(script=b"one two")
    assert say(conversation, "?", stop=("two",)) == "one "
    assert conversation.messages[-1] == Message("assistant", "one ")
    say(conversation, "!", stop=("two",))
    assert len(conversation.messages) == 4


def test_an_abandoned_answer_is_kept_as_far_as_generated() -> None:
    conversation, _ = talk(script=b"abc")
    pieces = conversation.send("?", TurnOptions(conversation.renderer, request))
    next(pieces)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert [message.content for message in conversation.messages] == ["?", "ab"]
    assert say(conversation, "!")


def test_an_empty_cancelled_answer_is_removed_with_its_question() -> None:
    conversation, _ = talk()
    pieces = conversation.send("?", TurnOptions(conversation.renderer, request))
    pieces.close()  # type: ignore[attr-defined]
    assert conversation.messages == []
    assert say(conversation, "?") == "yes"


def test_a_branch_is_independent() -> None:
    conversation, _ = talk()
    say(conversation, "one?")
    branch = conversation.fork()
    say(branch, "two?")
    assert (len(conversation.messages), len(branch.messages)) == (2, 4)
    say(conversation, "three?")
    assert [message.content for message in branch.messages if message.role == "user"] == ["one?", "two?"]


def test_an_empty_text_and_a_conversation_that_outgrew_the_context_change_nothing() -> None:
    conversation, _ = talk(context=25)
    say(conversation, "one?")
    with pytest.raises(InvalidArgument):
        conversation.send("", TurnOptions(conversation.renderer, request))
    with pytest.raises(PromptTooLong):
        conversation.send("a question that does not fit", TurnOptions(conversation.renderer, request))
    assert len(conversation.messages) == 2
    assert say(conversation, "?") != ""
