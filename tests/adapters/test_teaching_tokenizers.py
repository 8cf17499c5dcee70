"""Lessons with real tokenizers, which merge letters: the ids are generation's."""

from pathlib import Path

import pytest

from litgpt.adapters.checkpoints.gguf.store import open_gguf
from litgpt.adapters.text.opening import open_tokenizer
from litgpt.application.prompting import WritePrompt
from litgpt.application.teaching import WriteLesson
from litgpt.domain.chat import Message
from litgpt.domain.ports import Tokenizer
from litgpt.domain.prompts import PromptStyle, style_named
from tests.adapters import tiny_tokenizers as tiny

ANSWERS = ("The quick brown fox.", "né à Paris,\n\nand Rome 🦊", "x")
TALK = tuple(
    message
    for number, answer in enumerate(ANSWERS)
    for message in (Message("user", f"What is the capital, {number}?"), Message("assistant", answer))
)


@pytest.fixture(scope="module")
def smollm2(smollm2_gguf: Path) -> Tokenizer:
    checkpoint = open_gguf(smollm2_gguf, "smollm2")
    return open_tokenizer(checkpoint.tokenizer, name="smollm2", vocab_size=None)


@pytest.fixture
def chatml(tmp_path: Path) -> Tokenizer:
    config = {"chat_template": tiny.CHATML, "eos_token": "<|im_end|>"}
    files = {"tokenizer.json": tiny.byte_level(), "tokenizer_config.json": config}
    return open_tokenizer(tiny.write(tmp_path, files), name="tiny", vocab_size=None)


@pytest.fixture
def pieces(tmp_path: Path) -> Tokenizer:
    config = {"add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>"}
    files = {"tokenizer.model": tiny.sentencepiece_bytes(), "tokenizer_config.json": config}
    return open_tokenizer(tiny.write(tmp_path, files), name="tiny", vocab_size=None)


def check(tokenizer: Tokenizer, style: PromptStyle | None, ends: tuple[str, str]) -> None:
    """Ask that each answer is learnt as it stands, with what ends it, after the very ids of its prompt."""
    lesson = WriteLesson(tokenizer, style, mask_prompt=True)(TALK)
    write = WritePrompt(tokenizer, style)
    said = [
        tokenizer.decode(lesson.ids[start:stop], special=True).strip(" ") for start, stop in lesson.learnt
    ]
    middle, last = ends
    assert said == [f"{ANSWERS[0]}{middle}", f"{ANSWERS[1]}{middle}", f"{ANSWERS[2]}{last}"]
    for number, (start, _) in enumerate(lesson.learnt):
        assert list(lesson.ids[:start]) == write.encode(write.render(TALK[: 2 * number + 1]))
    assert lesson.learnt[-1][1] == len(lesson.ids)
    assert WriteLesson(tokenizer, style)(TALK).ids == lesson.ids


def test_smollm2_by_its_own_template(smollm2: Tokenizer) -> None:
    check(smollm2, None, ("<|im_end|>", "<|im_end|>"))


def test_smollm2_in_alpacas_style(smollm2: Tokenizer) -> None:
    check(smollm2, style_named("alpaca"), ("\n\n", "<|im_end|>"))


def test_a_tokenizer_of_bytes_that_begins_texts(chatml: Tokenizer) -> None:
    check(chatml, None, ("<|im_end|>", "<|im_end|>"))
    check(chatml, style_named("chatml"), ("<|im_end|>", "<|im_end|>"))


def test_a_tokenizer_of_pieces_that_begins_texts(pieces: Tokenizer) -> None:
    check(pieces, style_named("llama2"), (" </s>", " </s>"))
    check(pieces, style_named("alpaca"), ("\n\n", "</s>"))


def test_a_token_over_the_end_of_the_prompt_is_learnt_as_a_part_of_the_answer(smollm2: Tokenizer) -> None:
    """The line that the prompt ends with, and those that the answer begins with, are one token."""
    alpaca = style_named("alpaca")
    lesson = WriteLesson(smollm2, alpaca, mask_prompt=True)((TALK[0], Message("assistant", "\n\n  Yes.")))
    ((start, stop),) = lesson.learnt
    assert smollm2.decode(lesson.ids[start:stop], special=True).endswith("\n\n\n  Yes.<|im_end|>")
    assert smollm2.decode(lesson.ids[:start]).endswith("Response:")
