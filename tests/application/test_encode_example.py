"""Tests of SFT examples: the ids and targets match the prompts and answers of generation."""

from typing import Any

import attrs
import pytest

from litgpt.application.render_prompt import RenderPrompt
from litgpt.application.training.encode_example import EncodeExample, training_style
from litgpt.domain.chat.messages import Message, Messages
from litgpt.domain.chat.styles import STYLES, PromptStyle, find_style
from litgpt.domain.errors import UnsupportedPrompt
from litgpt.domain.training.sft_example import SFTExample
from litgpt.testing import ByteTokenizer

QUESTION = Message("user", "Name a bird.")
ANSWER = Message("assistant", "A crane.")
PAIR = (QUESTION, ANSWER)
TALK = (*PAIR, Message("user", "Another."), Message("assistant", "An owl."))


def targets(example: SFTExample) -> list[str]:
    """Return the text of each target span."""
    return [
        ByteTokenizer().decode(example.token_ids[start:stop], include_special_tokens=True)
        for start, stop in example.loss_spans
    ]


def encode(messages: Messages = PAIR, style: PromptStyle | None = None, *, mask: bool = True) -> SFTExample:
    return EncodeExample(ByteTokenizer(), style, mask)(messages)


def test_a_template_that_ends_its_turns_needs_no_other_end() -> None:
    written = ByteTokenizer().decode(encode().token_ids, include_special_tokens=True)
    assert written == "<|user|>Name a bird.<|end|><|assistant|>A crane.<|end|>"
    assert targets(encode()) == ["A crane.<|end|>"]


def test_without_a_mask_all_tokens_are_targets() -> None:
    whole = encode(mask=False)
    assert whole.token_ids == encode().token_ids
    assert whole.loss_spans == ((0, len(whole.token_ids)),)


def test_every_answer_of_a_conversation_is_a_target_with_its_end() -> None:
    assert targets(encode(TALK)) == ["A crane.<|end|>", "An owl.<|end|>"]
    assert targets(encode(TALK, find_style("alpaca"))) == ["A crane.\n\n", "An owl.<|end|>"]


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_an_examples_prompt_equals_generations(style: PromptStyle) -> None:
    example = encode(PAIR, style)
    write = RenderPrompt(ByteTokenizer(), style)
    prompt = write.encode(write.render(PAIR[:-1]))
    ((start, stop),) = example.loss_spans
    assert list(example.token_ids[:start]) == prompt
    assert stop == len(example.token_ids)
    assert targets(example) == [f"{style.answer_prefix}A crane.<|end|>"]


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_conversations_are_trained_on_in_every_multi_turn_style(style: PromptStyle) -> None:
    if style.turn_end is None:
        with pytest.raises(UnsupportedPrompt, match="one question at a time"):
            encode(TALK, style)
        return
    first, second = targets(encode(TALK, style))
    ends = (
        "<|end|>" if style.turn_end.startswith("<|end|>") else style.turn_end
    )  # Phi's is a token of this tokenizer
    assert first == f"{style.answer_prefix}A crane.{ends}"
    assert second == f"{style.answer_prefix}An owl.<|end|>"


def test_a_style_is_ended_by_its_own_token_and_nothing_after_it_is_kept() -> None:
    style = attrs.evolve(find_style("gemma"), turn_end="<|end|>\n", stop_sequences=("<|end|>",))
    assert targets(encode(TALK, style)) == ["A crane.<|end|>", "An owl.<|end|>"]


def test_bos_is_where_generation_has_it() -> None:
    tokenizer = ByteTokenizer(adds_bos=True)
    for style in (None, find_style("alpaca")):
        write = RenderPrompt(tokenizer, style)
        prompt = write.encode(write.render(PAIR[:-1]))
        assert list(EncodeExample(tokenizer, style)(PAIR).token_ids[: len(prompt)]) == prompt
        assert (prompt[0] == tokenizer.bos_id) == (style is not None)


def test_an_empty_answer_trains_the_end_token() -> None:
    nothing = (QUESTION, Message("assistant", ""))
    assert targets(encode(nothing)) == ["<|end|>"]
    assert targets(encode(nothing, find_style("alpaca"))) == ["<|end|>"]


@attrs.frozen
class HistoryDroppingTokenizer(ByteTokenizer):
    """A tokenizer whose template drops earlier turns once the last question has an answer."""

    def render(self, messages: Messages, *, add_generation_prompt: bool = True, **options: Any) -> str:  # noqa: ARG002
        known = len(messages) - 2 if messages[-1].role == "assistant" else 0
        return ByteTokenizer.render(self, messages[known:], add_generation_prompt=add_generation_prompt)


def test_a_template_that_rewrites_earlier_turns_cannot_be_masked() -> None:
    with pytest.raises(UnsupportedPrompt, match="mask_prompt=False"):
        EncodeExample(HistoryDroppingTokenizer(), None, mask_prompt=True)(TALK)
    assert EncodeExample(HistoryDroppingTokenizer(), None)(TALK).has_targets


@attrs.frozen
class NoTurnEndTokenizer(ByteTokenizer):
    """A tokenizer whose template has no end of turn."""

    def render(self, messages: Messages, *, add_generation_prompt: bool = True, **options: Any) -> str:  # noqa: ARG002
        text = "".join(f"{message.role}: {message.content}\n\n" for message in messages)
        return text + ("assistant: " if add_generation_prompt else "")


def test_without_a_template_end_of_turn_the_eos_token_ends_the_answer() -> None:
    assert targets(EncodeExample(NoTurnEndTokenizer(), None, mask_prompt=True)(TALK)) == [
        "A crane.\n\n",
        "An owl.<|end|>",
    ]


def test_the_default_training_style_is_the_template_then_alpaca() -> None:
    assert training_style(ByteTokenizer(), None) is None
    assert training_style(ByteTokenizer(has_chat_template=False), None) == find_style("alpaca")
    assert training_style(ByteTokenizer(), find_style("phi-2")) == find_style("phi-2")
