"""Tests of `vocab.json` with `merges.txt`, `vocab.txt`, tiktoken files and `tekken.json`."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, Qwen3_5Tokenizer
from transformers.convert_slow_tokenizer import TikTokenConverter

from litgpt.adapters.tokenization.checkpoint_tokenizer import CheckpointTokenizer
from litgpt.adapters.tokenization.export import export_tokenizer
from litgpt.adapters.tokenization.factory import open_tokenizer
from litgpt.adapters.tokenization.token_bytes import byte_level_to_bytes
from litgpt.domain.errors import CorruptFile, TokenizerMismatch, UnsupportedModel
from tests.adapters import tiny_tokenizers as tiny
from tests.contracts.tokenizer import TokenizerContract

TEXTS = [
    "",
    "The quick  brown fox's don't\n\n jump 1234567 times,\r\n at 3.14!\t ",
    "né à Paris; ne\u0301 Übung 你好 世界 🦙 ﬁ",
    "<|endoftext|>The<|im_start|>user\nfox<|im_end|> <|endoftext|>",
    " leading, THE CAPITALS' o'clock I'LL they've",
]


@pytest.fixture(scope="module")
def byte_pairs() -> dict[str, Any]:
    """Return a `vocab.json` and a `merges.txt`."""
    state = json.loads(tiny.byte_level().to_str())["model"]
    merges = "".join(f"{left} {right}\n" for left, right in state["merges"])
    return {"vocab.json": state["vocab"], "merges.txt": f"#version: 0.2\n{merges}"}


def check_agreement(tokenizer: CheckpointTokenizer, oracle: Any, texts: list[str]) -> None:
    assert tokenizer.eos_id == oracle.eos_token_id
    assert tokenizer.backend.vocab_size == len(oracle)
    for text in texts:
        ids = tokenizer.encode(text, bos=False)
        assert ids == oracle(text, add_special_tokens=False).input_ids, text
        assert tokenizer.decode(ids) == oracle.decode(ids, skip_special_tokens=True), text
        assert tokenizer.decode(ids, include_special_tokens=True) == oracle.decode(ids), text


def check(folder: Path, files: dict[str, Any], *, begins: bool = True) -> CheckpointTokenizer:
    """Compare a folder with transformers, and its export with both."""
    source = tiny.write(folder, files)
    tokenizer, oracle = open_tokenizer(source, name="m"), AutoTokenizer.from_pretrained(folder)
    check_agreement(tokenizer, oracle, TEXTS)
    if begins:
        assert tokenizer.encode("The") == oracle("The").input_ids
    saved = folder / "saved"
    saved.mkdir()
    reloaded = open_tokenizer(tiny.write(saved, {**export_tokenizer(source, name="m")}), name="m")
    assert not {"vocab.json", "vocab.txt", "tekken.json"} & {path.name for path in saved.iterdir()}
    assert (reloaded.bos_id, reloaded.adds_bos, reloaded.eos_ids) == (
        tokenizer.bos_id,
        tokenizer.adds_bos,
        tokenizer.eos_ids,
    )
    for value in (reloaded, tokenizer):
        check_agreement(value, AutoTokenizer.from_pretrained(saved), TEXTS)
    return tokenizer


@pytest.mark.parametrize(
    ("config", "model"),
    [
        ({"tokenizer_class": "GPT2Tokenizer"}, {"model_type": "gpt2"}),
        (None, {"model_type": "gpt2"}),
        ({"add_prefix_space": True, "model_max_length": 10}, {"model_type": "gptj"}),
        (
            {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "bos_token": "<|im_end|>"}
            | dict.fromkeys(("eos_token", "unk_token"), "<|im_end|>"),
            {"model_type": "opt"},
        ),
        ({"tokenizer_class": "CodeGenTokenizer"}, {"model_type": "phi"}),
        ({"tokenizer_class": "GPTNeoXTokenizerFast"}, {"model_type": "gpt_neox"}),
        ({"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>"}, {"model_type": "qwen2"}),
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, {"model_type": "qwen2"}),
        (None, {"model_type": "qwen3"}),
        ({"tokenizer_class": "Qwen2Tokenizer", "bos_token": None}, {"model_type": "qwen3_moe"}),
        ({"tokenizer_class": "GPT2Tokenizer"}, {"model_type": "starcoder2"}),
    ],
)
def test_bytes_in_pairs_are_split_as_the_class_does(
    config: dict[str, Any] | None, model: dict[str, Any], byte_pairs: dict[str, Any], tmp_path: Path
) -> None:
    configs = {} if config is None else {"tokenizer_config.json": config}
    check(tmp_path, {**byte_pairs, "config.json": model, **configs})


def test_qwen_3_5_splits_as_its_class_does_which_does_not_read_these_files_itself(
    byte_pairs: dict[str, Any], tmp_path: Path
) -> None:
    files = {**byte_pairs, "config.json": {"model_type": "qwen3_5"}}
    tokenizer = open_tokenizer(tiny.write(tmp_path, files), name="m")
    merges: Any = [tuple(line.split(" ")) for line in byte_pairs["merges.txt"].splitlines()[1:]]
    check_agreement(tokenizer, Qwen3_5Tokenizer(byte_pairs["vocab.json"], merges), TEXTS)


def test_tokens_are_added_to_them(byte_pairs: dict[str, Any], tmp_path: Path) -> None:
    files = {
        **byte_pairs,
        "config.json": {"model_type": "qwen2"},
        "added_tokens.json": {"<|endoftext|>": 400, "<tool>": 401},
        "special_tokens_map.json": {"additional_special_tokens": ["<|im_start|>"], "eos_token": "<|im_end|>"},
    }
    assert check(tmp_path, files).token_to_id("<tool>") == len(byte_pairs["vocab.json"]) + 1


@pytest.fixture(scope="module")
def qwen(
    byte_pairs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[CheckpointTokenizer, Any]:
    folder = tmp_path_factory.mktemp("qwen")
    source = tiny.write(folder, {**byte_pairs, "config.json": {"model_type": "qwen2"}})
    return open_tokenizer(source, name="m"), AutoTokenizer.from_pretrained(folder)


@given(text=st.text() | st.text(alphabet="aeé\u0301 '\n\t1TheHR你🦙.,<|>"))
@settings(max_examples=200)
def test_any_text_is_split_as_transformers_does(qwen: tuple[CheckpointTokenizer, Any], text: str) -> None:
    check_agreement(*qwen, [text])


@pytest.fixture(scope="module")
def words() -> str:
    """Return a `vocab.txt`."""
    library = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    library.train_from_iterator(
        [*tiny.READ, *(text.lower() for text in tiny.READ), "你好 世界 it's don't ! ?"],
        trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False),
    )
    vocab: dict[str, int] = library.get_vocab()
    return "".join(f"{token}\n" for token in sorted(vocab, key=vocab.__getitem__))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"do_lower_case": False},
        {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False},
        {"do_lower_case": True, "strip_accents": False, "mask_token": "[MASKED]", "eos_token": "[SEP]"},
    ],
)
def test_words_are_split_as_in_bert(config: dict[str, Any], words: str, tmp_path: Path) -> None:
    config = {"tokenizer_class": "BertTokenizer", **config}
    files = {"vocab.txt": words, "tokenizer_config.json": config, "config.json": {"model_type": "gpt2"}}
    tokenizer = check(tmp_path, files, begins=False)
    ids = tokenizer.encode("The quick fox. It's [MASK] unbelievable!")
    assert ids[0] == tokenizer.bos_id == tokenizer.token_to_id("[CLS]")
    decoder = tokenizer.decoder()
    assert "".join([*map(decoder.push, ids), decoder.finish()]) == tokenizer.decode(ids)


@pytest.fixture(scope="module")
def ranks(byte_pairs: dict[str, Any]) -> dict[bytes, int]:
    """Return byte strings by rank; the longer ones are merges of shorter ones."""
    tokens = [byte_level_to_bytes(token) for token in byte_pairs["vocab.json"] if not token.startswith("<|")]
    return {
        token: rank for rank, token in enumerate(sorted(set(tokens), key=lambda token: (len(token), token)))
    }


def lines(ranks: dict[bytes, int]) -> str:
    return "".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items())


@pytest.fixture
def without_tiktoken(ranks: dict[bytes, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let transformers convert without the package tiktoken, which only parses the lines."""
    monkeypatch.setattr(TikTokenConverter, "load_tiktoken_bpe", staticmethod(lambda _path: ranks))


@pytest.mark.parametrize("file", ["tokenizer.model", "tiktoken.model"])
@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.usefixtures("without_tiktoken")
def test_a_file_of_tiktoken_is_converted(
    file: str, gap: int, ranks: dict[bytes, int], tmp_path: Path
) -> None:
    first = len(ranks)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    decoder = {str(first + gap * at): {"content": token, "special": True} for at, token in enumerate(special)}
    config = {"added_tokens_decoder": decoder if gap else {}, "eos_token": "<|im_end|>"}
    if not gap:
        config["extra_special_tokens"] = special
    files = {file: lines(ranks), "tokenizer_config.json": config, "config.json": {"model_type": "llama"}}
    tokenizer = check(tmp_path, files)
    assert tokenizer.eos_id == first + (2 * gap if gap else 2)
    assert tokenizer.adds_bos is False


def tekken(ranks: dict[bytes, int], **config: object) -> dict[str, Any]:
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
    return {
        "config": {"pattern": r"\p{L}+|\p{N}|[^\p{L}\p{N}]+", "default_num_special_tokens": 10, **config},
        "vocab": [
            {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
            for token, rank in ranks.items()
        ],
        "special_tokens": [
            {"rank": rank, "token_str": token, "is_control": True} for rank, token in enumerate(special)
        ],
    }


def test_tekken_is_converted(ranks: dict[bytes, int], tmp_path: Path) -> None:
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    files = {
        "tekken.json": tekken(ranks, default_vocab_size=300),
        "tokenizer_config.json": named,
        "config.json": {"model_type": "mistral"},
    }
    tokenizer = check(tmp_path, files, begins=False)
    assert tokenizer.vocab_size == 300
    assert tokenizer.encode("[INST]The")[:2] == [1, 3]
    del files["tokenizer_config.json"]
    bare = tmp_path / "bare"
    bare.mkdir()
    alone = open_tokenizer(tiny.write(bare, files), name="m")
    assert (alone.bos_id, alone.adds_bos, alone.eos_ids) == (1, True, (2,))


def test_the_first_tekken_files_do_not_list_their_special_tokens(
    ranks: dict[bytes, int], tmp_path: Path
) -> None:
    file = tekken(ranks, default_num_special_tokens=30)
    del file["special_tokens"]
    tokenizer = open_tokenizer(tiny.write(tmp_path, {"tekken.json": file}), name="m")
    ids = tokenizer.encode("[INST]The[/INST]<pad>[TOOL_CONTENT]<SPECIAL_20><SPECIAL_29>")
    assert (ids[:2], ids[-5:]) == ([1, 3], [4, 11, 19, 20, 29])
    assert tokenizer.backend.vocab_size == 30 + len(ranks)


class TestBytePairs(TokenizerContract):
    special = "<|im_end|>"

    @pytest.fixture
    def tokenizer(self, byte_pairs: dict[str, Any], tmp_path: Path) -> CheckpointTokenizer:
        config = {"eos_token": "<|im_end|>", "bos_token": "<|begin|>", "chat_template": tiny.CHATML}
        files = {"tokenizer_config.json": config, "config.json": {"model_type": "gpt2"}}
        return open_tokenizer(tiny.write(tmp_path, {**byte_pairs, **files}), name="tiny", vocab_size=400)


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        (
            {"vocab.json": {"a": 0}, "merges.txt": ""},
            UnsupportedModel,
            "GPT2Tokenizer or .* is not specified",
        ),
        (
            {"vocab.txt": "a\n", "tokenizer_config.json": {"tokenizer_class": "XLMTokenizer"}},
            UnsupportedModel,
            "for the tokenizer class BertTokenizer, but .* is XLMTokenizer.*tokenizer_dir",
        ),
        (
            {"vocab.txt": "a\n", "tokenizer_config.json": {"tokenizer_class": "BertTokenizer"}},
            CorruptFile,
            r"lacks one of \[CLS\] and \[SEP\]",
        ),
        ({"qwen.tiktoken": "IQ== 0\n"}, UnsupportedModel, "qwen.tiktoken .* Python code.*tokenizer_dir"),
        ({"tokenizer.model": "IQ== 0\nIg== x\n"}, CorruptFile, "not a file of tiktoken"),
        ({"tiktoken.model": ""}, CorruptFile, "not a file of tiktoken"),
        ({"tiktoken.model": f"{'IQ' * 50_000} 0\n"}, CorruptFile, "one of more than 1000 bytes"),
        (
            {
                "tiktoken.model": "IQ== 0\n",
                "tokenizer_config.json": {"added_tokens_decoder": {"999999999": {"content": "a"}}},
            },
            CorruptFile,
            "added token has the id 999999999",
        ),
        ({"tekken.json": {"config": {"pattern": "a"}, "vocab": []}}, CorruptFile, "not a tekken.json"),
        ({"tekken.json": "[" * 100_000}, CorruptFile, "not a tekken.json"),
        ({"vocab.json": {"a": 0}}, TokenizerMismatch, "has no tokenizer"),
        (
            {"vocab.json": {"a": 0}, "merges.txt": "a b\n", "config.json": {"model_type": "gpt2"}},
            CorruptFile,
            "does not fit merges.txt",
        ),
    ],
)
def test_unsupported_vocabulary_files_are_refused(
    files: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        open_tokenizer(tiny.write(tmp_path, files), name="m")
