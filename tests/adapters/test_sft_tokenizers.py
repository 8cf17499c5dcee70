"""Tests of SFT examples with real tokenizers, which merge across boundaries: the ids equal generation's."""

from pathlib import Path

import pytest

from litgpt.adapters.checkpoints.gguf.checkpoint import open_gguf
from litgpt.adapters.tokenization.factory import open_tokenizer
from litgpt.application.render_prompt import RenderPrompt
from litgpt.application.training.encode_example import EncodeExample
from litgpt.domain.chat.messages import Message
from litgpt.domain.chat.styles import PromptStyle, find_style
from litgpt.domain.ports import Tokenizer
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
    return open_tokenizer(checkpoint.read_tokenizer(), name="smollm2", vocab_size=None)


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
    """Check that each answer is a target with its end, after exactly the ids of its prompt."""
    example = EncodeExample(tokenizer, style, mask_prompt=True)(TALK)
    write = RenderPrompt(tokenizer, style)
    targets = [
        tokenizer.decode(example.token_ids[start:stop], include_special_tokens=True).strip(" ")
        for start, stop in example.loss_spans
    ]
    middle, last = ends
    assert targets == [f"{ANSWERS[0]}{middle}", f"{ANSWERS[1]}{middle}", f"{ANSWERS[2]}{last}"]
    for number, (start, _) in enumerate(example.loss_spans):
        assert list(example.token_ids[:start]) == write.encode(write.render(TALK[: 2 * number + 1]))
    assert example.loss_spans[-1][1] == len(example.token_ids)
    assert EncodeExample(tokenizer, style)(TALK).token_ids == example.token_ids


def test_smollm2_by_its_own_template(smollm2: Tokenizer) -> None:
    check(smollm2, None, ("<|im_end|>", "<|im_end|>"))


def test_smollm2_in_alpacas_style(smollm2: Tokenizer) -> None:
    check(smollm2, find_style("alpaca"), ("\n\n", "<|im_end|>"))


def test_a_tokenizer_of_bytes_that_begins_texts(chatml: Tokenizer) -> None:
    check(chatml, None, ("<|im_end|>", "<|im_end|>"))
    check(chatml, find_style("chatml"), ("<|im_end|>", "<|im_end|>"))


def test_a_tokenizer_of_pieces_that_begins_texts(pieces: Tokenizer) -> None:
    check(pieces, find_style("llama2"), (" </s>", " </s>"))
    check(pieces, find_style("alpaca"), ("\n\n", "</s>"))


def test_a_token_across_prompt_and_answer_is_a_target(smollm2: Tokenizer) -> None:
    """The prompt's last newline and the answer's first ones are one token."""
    alpaca = find_style("alpaca")
    example = EncodeExample(smollm2, alpaca, mask_prompt=True)((TALK[0], Message("assistant", "\n\n  Yes.")))
    ((start, stop),) = example.loss_spans
    assert smollm2.decode(example.token_ids[start:stop], include_special_tokens=True).endswith(
        "\n\n\n  Yes.<|im_end|>"
    )
    assert smollm2.decode(example.token_ids[:start]).endswith("Response:")
