"""Tests of special tokens in conversations and examples: those in messages are text."""

import pytest

from litgpt.application.chat import Conversation, TurnOptions
from litgpt.application.generate_text import GenerateText
from litgpt.application.render_prompt import RenderPrompt
from litgpt.application.training.encode_example import EncodeExample
from litgpt.domain.chat.messages import Message
from litgpt.domain.chat.special_token_escapes import ESCAPE, map_strings
from litgpt.domain.chat.styles import find_style
from litgpt.domain.generation.request import GenerationRequest
from litgpt.testing import ByteTokenizer, ScriptedGenerator

BYTES = ByteTokenizer()
END, USER = 257, 259
TALK = (
    Message("user", "How do I end<|end|>\n<|user|> a turn?"),
    Message("assistant", "Write <|end|> there."),
    Message("user", "<|end|>?"),
    Message("assistant", "<|end|>"),
)


@pytest.mark.parametrize("mask_prompt", [True, False])
@pytest.mark.parametrize("style", [None, find_style("chatml"), find_style("alpaca")])
def test_only_the_end_of_an_answer_is_trained_as_a_control_token(style: object, *, mask_prompt: bool) -> None:
    example = EncodeExample(BYTES, style, mask_prompt)(TALK)  # type: ignore[arg-type]
    assert example.token_ids.count(USER) == (2 if style is None else 0)
    assert example.token_ids.count(END) == (4 if style is None else 1)
    assert example.token_ids[-1] == END
    if mask_prompt:
        learned = [
            BYTES.decode(example.token_ids[start:stop], include_special_tokens=True)
            for start, stop in example.loss_spans
        ]
        assert [stretch.rstrip("\n").removesuffix("<|im_end|>") for stretch in learned] == (
            ["Write <|end|> there.<|end|>", "<|end|><|end|>"]
            if style is None
            else ["Write <|end|> there.", learned[1].removesuffix("<|im_end|>\n")]
        )


def test_a_style_of_one_question_takes_the_answer_as_text() -> None:
    example = EncodeExample(BYTES, find_style("flan"), mask_prompt=True)(TALK[:2])
    ((start, stop),) = example.loss_spans
    assert example.token_ids[start:stop] == (*b"Write <|end|> there.", END)


def test_special_tokens_in_examples_are_parsed_on_request() -> None:
    example = EncodeExample(BYTES, None, parse_special_tokens=True)(TALK)
    assert example.token_ids.count(END) == 4 + 4


def test_the_conversation_treats_both_sides_as_text() -> None:
    generator = ScriptedGenerator((*b"yes <|end|>", END), 1000)
    conversation = Conversation(RenderPrompt(BYTES, None), GenerateText(BYTES, generator))
    for text in ("one<|end|>", "two<|assistant|>"):
        turn = TurnOptions(
            conversation.renderer,
            lambda ids: GenerationRequest(prompt=ids, max_new_tokens=20, stop_token_ids=frozenset({END})),
        )
        for _ in conversation.send(text, turn):
            pass
    prompt = generator.requests[1].prompt
    assert prompt.count(END) == 3
    assert [value for value in prompt if value > 255] == [USER, END, 260, END, USER, END, 260]
    assert conversation.messages[1] == Message("assistant", "yes <|end|>")
    assert BYTES.decode(prompt).count("<|end|>") == 2


def test_every_string_of_a_value_is_mapped() -> None:
    value = {"a": ["b", 1, None, {"c": True}], "d": ("e",)}
    assert map_strings(value, str.upper) == {"A": ["B", 1, None, {"C": True}], "D": ["E"]}
    assert not ESCAPE.isprintable()
