"""Tests of the tokenizer in a GGUF header."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from litgpt.adapters.checkpoints.gguf.checkpoint import open_gguf
from litgpt.domain.errors import CorruptFile, LitGPTError, UnsupportedModel
from litgpt.domain.tokenizer_source import GgufVocabulary
from tests.adapters.gguf_files import TOKENS, write_gguf

BPE_TOKENS = ["<|end|>", "Ġ", "né", "🦙", *(f"t{number}" for number in range(60))]


def as_bpe(writer: Any) -> Any:
    keys = writer.kv_data[0]
    for key in ("model", "tokens", "scores", "token_type"):
        del keys[f"tokenizer.ggml.{key}"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(BPE_TOKENS)
    writer.add_token_merges(["n é", "Ġ t1"])
    return writer


def vocabulary(path: Path, *more: Callable[[Any], object]) -> GgufVocabulary:
    def add(writer: Any) -> None:
        for value in more:
            value(writer)

    return vocabulary_of(write_gguf(path, more=add))


def vocabulary_of(path: Path) -> GgufVocabulary:
    parsed = open_gguf(path, "m").read_tokenizer()
    assert isinstance(parsed, GgufVocabulary)
    return parsed


def without(*names: str) -> Callable[[Any], object]:
    return lambda writer: [writer.kv_data[0].pop(f"tokenizer.ggml.{name}") for name in names]


def test_a_sentencepiece_vocabulary_is_as_it_was_written(tmp_path: Path) -> None:
    source = vocabulary(
        tmp_path / "m",
        lambda writer: writer.add_bos_token_id(1),
        lambda writer: writer.add_eos_token_id(2),
        lambda writer: writer.add_unk_token_id(0),
        lambda writer: writer.add_add_bos_token(False),
        lambda writer: writer.add_add_eos_token(True),
        lambda writer: writer.add_add_space_prefix(False),
        lambda writer: writer.add_chat_template("{{ messages }}"),
    )
    assert source == GgufVocabulary(
        kind="spm",
        tokens=tuple(TOKENS),
        types=(2, 3, 3, *[1] * 61),
        scores=tuple(-float(number) for number in range(64)),
        bos_id=1,
        eos_ids=(2,),
        unk_id=0,
        add_bos=False,
        add_eos=True,
        add_space_prefix=False,
        chat_template="{{ messages }}",
    )


def test_sentencepiece_vocabulary_defaults_equal_llama_cpp(tmp_path: Path) -> None:
    source = vocabulary(tmp_path / "m", without("token_type"))
    assert (source.bos_id, source.eos_ids, source.unk_id) == (1, (2,), 0)
    assert (source.add_bos, source.add_space_prefix, source.chat_template) == (True, True, None)
    assert source.types == (1,) * 64


def test_a_bpe_vocabulary_is_as_it_was_written(tmp_path: Path) -> None:
    source = vocabulary(tmp_path / "m", as_bpe, lambda writer: writer.add_tokenizer_pre("smollm"))
    assert source == GgufVocabulary(
        kind="bpe",
        tokens=tuple(BPE_TOKENS),
        types=(1,) * 64,
        merges=("n é", "Ġ t1"),
        pre="smollm",
        add_space_prefix=False,
    )


@pytest.mark.parametrize("pre", ["llama-bpe", "tekken", "qwen2", None])
def test_whether_a_bpe_text_begins_with_a_token_is_a_matter_of_its_splitting_rule(
    pre: str | None, tmp_path: Path
) -> None:
    begins = pre in ("llama-bpe", "tekken")
    calls = [lambda writer: writer.add_tokenizer_pre(pre)] if pre else []
    source = vocabulary(tmp_path / "m", as_bpe, *calls)
    assert (source.pre, source.add_bos) == (pre or "default", begins)
    second = vocabulary(tmp_path / "n", as_bpe, *calls, lambda writer: writer.add_add_bos_token(not begins))
    assert second.add_bos is not begins


def test_all_end_tokens_are_found_once_the_end_of_the_text_first(tmp_path: Path) -> None:
    source = vocabulary(
        tmp_path / "m",
        lambda writer: writer.add_eom_token_id(7),
        lambda writer: writer.add_eot_token_id(5),
        lambda writer: writer.add_eos_token_id(7),
    )
    assert source.eos_ids == (7, 5)
    config = open_gguf(tmp_path / "m", "m")
    assert config.generation_config == {"eos_token_id": [7, 5]}
    assert config.config["eos_token_id"] == 7


def test_a_special_token_of_minus_one_is_none(tmp_path: Path) -> None:
    source = vocabulary(
        tmp_path / "m",
        as_bpe,
        lambda writer: writer.add_bos_token_id(0xFFFFFFFF),
        lambda writer: writer.add_eos_token_id(3),
    )
    assert (source.bos_id, source.eos_ids) == (None, (3,))


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        (without("model"), CorruptFile, r"no 'tokenizer\.ggml\.model'"),
        (without("tokens"), CorruptFile, r"no 'tokenizer\.ggml\.tokens'"),
        (without("scores"), CorruptFile, r"no 'tokenizer\.ggml\.scores'"),
        (
            lambda writer: [as_bpe(writer), without("merges")(writer)],
            CorruptFile,
            r"no 'tokenizer\.ggml\.merges'",
        ),
        (
            lambda writer: [without("scores")(writer), writer.add_token_scores([1.0])],
            CorruptFile,
            r"'tokenizer\.ggml\.scores' has 1 values for 64 tokens",
        ),
        (
            lambda writer: [without("token_type")(writer), writer.add_token_types([1])],
            CorruptFile,
            r"'tokenizer\.ggml\.token_type' has 1 values",
        ),
        (
            lambda writer: [without("tokens")(writer), writer.add_array("tokenizer.ggml.tokens", [1, 2])],
            CorruptFile,
            "must be an array of strings",
        ),
        (
            lambda writer: [without("tokens")(writer), writer.add_token_list([b"\xff"])],
            CorruptFile,
            "not UTF-8",
        ),
        (lambda writer: writer.add_eos_token_id(64), CorruptFile, "less than its 64 tokens, not 64"),
        (lambda writer: writer.add_uint32("tokenizer.chat_template", 1), CorruptFile, "must be a string"),
        (
            lambda writer: [without("model")(writer), writer.add_tokenizer_model("bert")],
            UnsupportedModel,
            "'bert'; only 'gpt2' and 'llama' and 'gemma4' are supported",
        ),
    ],
)
def test_an_unsupported_vocabulary_is_refused_when_it_is_read(
    more: Callable[[Any], object], error: type[LitGPTError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message) as caught:
        vocabulary(tmp_path / "m.gguf", more)
    assert "m.gguf" in str(caught.value)


def test_the_vocabulary_of_smollm2_is_read(smollm2_gguf: Path) -> None:
    actual = vocabulary_of(smollm2_gguf)
    assert (actual.kind, actual.pre, len(actual.tokens), len(actual.merges)) == (
        "bpe",
        "smollm",
        49152,
        48900,
    )
    assert [actual.tokens[number] for number in (0, 1, 2)] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert actual.merges[0] == "Ġ t"
    assert (actual.bos_id, actual.eos_ids, actual.unk_id, actual.add_bos) == (1, (2,), 0, False)
    assert "<|im_start|>" in (actual.chat_template or "")


def test_the_vocabulary_of_gemma_3_is_read(gemma3_gguf: Path) -> None:
    actual = vocabulary_of(gemma3_gguf)
    assert (actual.kind, len(actual.tokens), len(actual.scores), actual.merges) == ("spm", 262144, 262144, ())
    assert [actual.tokens[number] for number in (0, 1, 2, 3)] == ["<pad>", "<eos>", "<bos>", "<unk>"]
    assert actual.tokens[107:109] == ("\n", "\n\n")
    assert (actual.bos_id, actual.eos_ids, actual.unk_id) == (2, (1,), 3)
    assert (actual.add_bos, actual.add_space_prefix) == (True, False)
