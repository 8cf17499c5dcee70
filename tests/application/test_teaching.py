"""What a model learns from is what it will be asked and answer with, id by id."""

from typing import Any

import attrs
import pytest

from litgpt.application.prompting import WritePrompt
from litgpt.application.teaching import WriteLesson, style_to_teach
from litgpt.domain.chat import Message, Messages
from litgpt.domain.errors import BadPrompt
from litgpt.domain.prompts import STYLES, PromptStyle, style_named
from litgpt.domain.training.lesson import Lesson
from litgpt.testing import ByteTokenizer

ASKED = Message("user", "Name a bird.")
ANSWERED = Message("assistant", "A crane.")
PAIR = (ASKED, ANSWERED)
TALK = (*PAIR, Message("user", "Another."), Message("assistant", "An owl."))


def learnt(lesson: Lesson) -> list[str]:
    """Return what of a lesson is learnt, stretch by stretch."""
    return [ByteTokenizer().decode(lesson.ids[start:stop], special=True) for start, stop in lesson.learnt]


def lesson(said: Messages = PAIR, style: PromptStyle | None = None, *, mask: bool = True) -> Lesson:
    return WriteLesson(ByteTokenizer(), style, mask)(said)


def test_a_template_that_ends_its_turns_needs_no_other_end() -> None:
    written = ByteTokenizer().decode(lesson().ids, special=True)
    assert written == "<|user|>Name a bird.<|end|><|assistant|>A crane.<|end|>"
    assert learnt(lesson()) == ["A crane.<|end|>"]


def test_without_a_mask_all_of_it_is_learnt() -> None:
    whole = lesson(mask=False)
    assert whole.ids == lesson().ids
    assert whole.learnt == ((0, len(whole.ids)),)


def test_every_answer_of_a_conversation_is_learnt_with_what_ends_it() -> None:
    assert learnt(lesson(TALK)) == ["A crane.<|end|>", "An owl.<|end|>"]
    assert learnt(lesson(TALK, style_named("alpaca"))) == ["A crane.\n\n", "An owl.<|end|>"]


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_what_is_before_the_answer_is_what_generation_asks(style: PromptStyle) -> None:
    said = lesson(PAIR, style)
    write = WritePrompt(ByteTokenizer(), style)
    prompt = write.encode(write.render(PAIR[:-1]))
    ((start, stop),) = said.learnt
    assert list(said.ids[:start]) == prompt
    assert stop == len(said.ids)
    assert learnt(said) == [f"{style.lead}A crane.<|end|>"]


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_a_conversation_is_learnt_in_every_style_that_knows_conversations(style: PromptStyle) -> None:
    if style.end is None:
        with pytest.raises(BadPrompt, match="one thing at a time"):
            lesson(TALK, style)
        return
    first, second = learnt(lesson(TALK, style))
    ends = "<|end|>" if style.end.startswith("<|end|>") else style.end  # Phi's is a token of this tokenizer
    assert first == f"{style.lead}A crane.{ends}"
    assert second == f"{style.lead}An owl.<|end|>"


def test_a_style_is_ended_by_its_own_token_and_nothing_after_it_is_kept() -> None:
    style = attrs.evolve(style_named("gemma"), end="<|end|>\n", stops=("<|end|>",))
    assert learnt(lesson(TALK, style)) == ["A crane.<|end|>", "An owl.<|end|>"]


def test_the_beginning_token_is_where_generation_has_it() -> None:
    tokenizer = ByteTokenizer(adds_bos=True)
    for style in (None, style_named("alpaca")):
        write = WritePrompt(tokenizer, style)
        prompt = write.encode(write.render(PAIR[:-1]))
        assert list(WriteLesson(tokenizer, style)(PAIR).ids[: len(prompt)]) == prompt
        assert (prompt[0] == tokenizer.bos_id) == (style is not None)


def test_an_answer_of_nothing_is_to_end_at_once() -> None:
    nothing = (ASKED, Message("assistant", ""))
    assert learnt(lesson(nothing)) == ["<|end|>"]
    assert learnt(lesson(nothing, style_named("alpaca"))) == ["<|end|>"]


@attrs.frozen
class Forgetful(ByteTokenizer):
    """Its template leaves out what was said before the last question, once there is an answer to that."""

    def render(self, messages: Messages, *, answer: bool = True, **options: Any) -> str:  # noqa: ARG002
        known = len(messages) - 2 if messages[-1].role == "assistant" else 0
        return ByteTokenizer.render(self, messages[known:], answer=answer)


def test_a_template_that_writes_earlier_turns_anew_is_refused_rather_than_masked_wrong() -> None:
    with pytest.raises(BadPrompt, match="mask_prompt=False"):
        WriteLesson(Forgetful(), None, mask_prompt=True)(TALK)
    assert WriteLesson(Forgetful(), None)(TALK).teaches


@attrs.frozen
class Loose(ByteTokenizer):
    """Its template marks no end of a turn."""

    def render(self, messages: Messages, *, answer: bool = True, **options: Any) -> str:  # noqa: ARG002
        said = "".join(f"{one.role}: {one.content}\n\n" for one in messages)
        return said + ("assistant: " if answer else "")


def test_where_a_template_ends_nothing_the_tokenizers_end_does() -> None:
    assert learnt(WriteLesson(Loose(), None, mask_prompt=True)(TALK)) == ["A crane.\n\n", "An owl.<|end|>"]


def test_the_style_to_teach_in_is_the_template_then_alpacas() -> None:
    assert style_to_teach(ByteTokenizer(), None) is None
    assert style_to_teach(ByteTokenizer(has_chat_template=False), None) == style_named("alpaca")
    assert style_to_teach(ByteTokenizer(), style_named("phi-2")) == style_named("phi-2")
