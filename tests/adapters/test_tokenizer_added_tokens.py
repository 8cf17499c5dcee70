"""Tests of added tokens: their ids and matching, as in transformers."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer

from litgpt.adapters.tokenization.checkpoint_tokenizer import CheckpointTokenizer
from litgpt.adapters.tokenization.export import export_tokenizer
from litgpt.adapters.tokenization.factory import open_tokenizer
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.tokenizer_source import TokenizerFiles
from tests.adapters import tiny_tokenizers as tiny

ROWS = 400
MODEL = {"model_type": "llama", "vocab_size": ROWS, "eos_token_id": 257}
FAST = {"tokenizer_class": "PreTrainedTokenizerFast"}
TURN, DONE = "<|turn|>", "<|done|>"


def of_bytes() -> Tokenizer:
    """Return a tokenizer of the 256 bytes, with two special tokens and a regular added token."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    library = Tokenizer(models.BPE({letter: place for place, letter in enumerate(letters)}, []))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    library.add_tokens([AddedToken("<tool>", special=False)])
    return library


def flags(content: str, **flags_set: bool) -> dict[str, object]:
    plain = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized", "special"), False)
    return {"content": content, **plain, **flags_set}


FILES: dict[str, dict[str, Any]] = {
    "added_tokens.json": {
        "added_tokens.json": {TURN: 259, DONE: 260},
        "tokenizer_config.json": {**FAST, "eos_token": DONE},
    },
    "added_tokens.json, in another order than its ids": {
        "added_tokens.json": {"<b>": 261, "<a>": 259, "<c>": 260},
        "tokenizer_config.json": {**FAST, "pad_token": "<c>"},
    },
    "added_tokens.json with an id that tokenizer.json has given": {
        "added_tokens.json": {TURN: 257, DONE: 300},
        "tokenizer_config.json": FAST,
    },
    "added_tokens.json with what tokenizer.json has": {
        "added_tokens.json": {"<|im_end|>": 300, "<tool>": 5, TURN: 259},
        "tokenizer_config.json": {**FAST, "eos_token": "<tool>"},
    },
    "added_tokens_decoder": {
        "tokenizer_config.json": {
            **FAST,
            "added_tokens_decoder": {
                "260": flags(DONE, special=True),
                "259": flags(TURN, lstrip=True, special=True),
                "261": flags("<think>", rstrip=True),
                "262": flags("word", single_word=True),
            },
            "eos_token": DONE,
        },
        "added_tokens.json": {"<not read>": 263},
        "special_tokens_map.json": {"eos_token": "<not read>"},
    },
    "added_tokens_decoder with a taken id, a gap and other flags": {
        "tokenizer_config.json": {
            **FAST,
            "added_tokens_decoder": {
                "256": flags(TURN, special=True),
                "257": flags("<|im_end|>", rstrip=True),
                "390": flags(DONE, special=True),
                "258": {"content": "<tool>"},
            },
            "eos_token": "<|im_end|>",
        },
    },
    "named tokens that are nowhere": {
        "tokenizer_config.json": {
            **FAST,
            "pad_token": "<pad>",
            "bos_token": "<s>",
            "image_token": "<image>",
            "eos_token": "</s>",
        },
    },
    "named tokens as AddedToken": {
        "tokenizer_config.json": {
            **FAST,
            "eos_token": {"__type": "AddedToken", **flags(DONE, lstrip=True, special=True)},
        },
    },
    "AddedToken without flags": {
        "tokenizer_config.json": {
            **FAST,
            "eos_token": {"__type": "AddedToken", "content": DONE},
            "additional_special_tokens": [
                {"__type": "AddedToken", "content": TURN, "normalized": False},
                "<a>",
            ],
        },
    },
    "one text for two special tokens": {
        "tokenizer_config.json": {
            **FAST,
            "bos_token": TURN,
            "eos_token": {"__type": "AddedToken", **flags(TURN, rstrip=True, special=True)},
            "pad_token": {"__type": "AddedToken", **flags(DONE, special=True)},
            "additional_special_tokens": [{"__type": "AddedToken", **flags(DONE, lstrip=True)}],
        },
    },
    "special_tokens_map.json": {
        "tokenizer_config.json": {**FAST, "eos_token": "<|im_start|>"},
        "special_tokens_map.json": {
            "eos_token": flags(DONE, rstrip=True),
            "additional_special_tokens": [TURN, "<tool>"],
        },
    },
    "additional_special_tokens": {
        "tokenizer_config.json": {**FAST, "additional_special_tokens": [TURN, "<|im_end|>", DONE]},
        "special_tokens_map.json": {"additional_special_tokens": ["<late>"]},
    },
    "extra_special_tokens as a list": {
        "tokenizer_config.json": {**FAST, "extra_special_tokens": [TURN, DONE]},
        "special_tokens_map.json": {"extra_special_tokens": ["<late>", TURN]},
        "added_tokens.json": {DONE: 262},
    },
    "extra_special_tokens by name": {
        "tokenizer_config.json": {
            **FAST,
            "extra_special_tokens": {"image_token": "<image>", "turn": TURN},
            "additional_special_tokens": [DONE],
        },
    },
    "a class of its own": {
        "tokenizer_config.json": {
            "tokenizer_class": "GPT2Tokenizer",
            "eos_token": DONE,
            "bos_token": "<|im_start|>",
            "unk_token": "<|im_start|>",
            "additional_special_tokens": [TURN],
        },
        "added_tokens.json": {DONE: 260},
    },
    "none of these files": {},
}

TEXTS = [
    "hi",
    "<|turn|>hi<|done|>",
    " <|turn|>  a <think> b  word wordy sword word.",
    "<|im_start|>user\nWell? <|im_end|> \n<tool> x <tool>y",
    "<s>a</s><pad><image><unk><late><not read><a><b> <c> ",
    "<|turn|><|turn|> <|done|>\t\n<|done|>",
    "",
]


def write(folder: Path, library: Tokenizer | bytes, files: dict[str, Any]) -> TokenizerFiles:
    name = "tokenizer.model" if isinstance(library, bytes) else "tokenizer.json"
    return tiny.write(folder, {"config.json": MODEL, **files, name: library})


def check_agreement(tokenizer: CheckpointTokenizer, oracle: Any, texts: list[str]) -> None:
    assert tokenizer.eos_id == oracle.eos_token_id
    for text in texts:
        ids = tokenizer.encode(text, bos=False)
        assert ids == oracle(text, add_special_tokens=False).input_ids, text
        assert tokenizer.decode(ids) == oracle.decode(ids, skip_special_tokens=True), text
        assert tokenizer.decode(ids, include_special_tokens=True) == oracle.decode(ids), text


@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
def test_ids_and_texts_are_those_of_transformers_and_stay_so_when_saved(
    files: dict[str, Any], tmp_path: Path
) -> None:
    source = write(tmp_path, of_bytes(), files)
    tokenizer = open_tokenizer(source, name="m", vocab_size=ROWS)
    oracle = AutoTokenizer.from_pretrained(tmp_path)
    check_agreement(tokenizer, oracle, TEXTS)
    for text, token_id in oracle.get_added_vocab().items():
        assert tokenizer.token_to_id(text) == token_id
    assert tokenizer.backend.vocab_size == len(oracle)
    saved = tmp_path / "saved"
    saved.mkdir()
    reloaded = tiny.write(saved, {"config.json": MODEL, **export_tokenizer(source, name="m")})
    check_agreement(open_tokenizer(reloaded, name="m", vocab_size=ROWS), oracle, TEXTS)
    check_agreement(tokenizer, AutoTokenizer.from_pretrained(saved), TEXTS)


@pytest.fixture(scope="module")
def with_flags(tmp_path_factory: pytest.TempPathFactory) -> tuple[CheckpointTokenizer, Any]:
    folder = tmp_path_factory.mktemp("flags")
    source = write(folder, of_bytes(), FILES["added_tokens_decoder"])
    return open_tokenizer(source, name="m", vocab_size=ROWS), AutoTokenizer.from_pretrained(folder)


@given(
    parts=st.lists(st.sampled_from([TURN, DONE, "<think>", "word", "<|im_end|>", " ", "\n", "a", "é", "<"]))
)
@settings(max_examples=200)
def test_any_text_of_special_tokens_is_encoded_as_transformers_does(
    with_flags: tuple[CheckpointTokenizer, Any], parts: list[str]
) -> None:
    check_agreement(*with_flags, ["".join(parts)])


def test_end_ids_know_an_added_token(tmp_path: Path) -> None:
    files = FILES["added_tokens.json"]
    config = {**files["tokenizer_config.json"], "chat_template": tiny.CHATML.replace("<|im_end|>", TURN)}
    source = write(tmp_path, of_bytes(), {**files, "tokenizer_config.json": config})
    assert open_tokenizer(source, name="m", vocab_size=ROWS).stop_token_ids == {259, 260}


def test_a_token_without_a_row_in_the_embedding_is_an_error_only_where_it_is_used(tmp_path: Path) -> None:
    config = {**FAST, "bos_token": "<s>", "pad_token": "[PAD]", "eos_token": "<|im_end|>"}
    source = write(tmp_path, of_bytes(), {"tokenizer_config.json": config})
    tokenizer = open_tokenizer(source, name="m", vocab_size=259)
    assert tokenizer.encode("a[PAD") == [*b"\x40", *tokenizer.encode("[PAD")]
    for text, bos, token in (("a[PAD]", None, r"\[PAD\]"), ("a<s>", None, "<s>"), ("a", True, "<s>")):
        with pytest.raises(InvalidArgument, match=f"for which m has no embedding, not '{token}'"):
            tokenizer.encode(text, bos=bos)


def test_special_tokens_of_the_files_are_known_to_the_chat_template(tmp_path: Path) -> None:
    config = {
        **FAST,
        "extra_special_tokens": {"image_token": "<image>"},
        "chat_template": "{{ image_token }}",
    }
    tokenizer = open_tokenizer(write(tmp_path, of_bytes(), {"tokenizer_config.json": config}), name="m")
    assert tokenizer.render(()) == "<image>"


PIECES: dict[str, dict[str, Any]] = {
    "none of these files": {},
    "added_tokens.json": {"added_tokens.json": {"<|im_start|>": 350, "<|im_end|>": 345}},
    "added_tokens_decoder": {
        "tokenizer_config.json": {
            "added_tokens_decoder": {
                "0": flags("<unk>", special=True),
                "2": flags("</s>", special=True),
                "340": flags("<|im_start|>", special=True),
                "341": flags("<|im_end|>", rstrip=True, special=True),
                "342": flags("<think>", lstrip=True),
                "343": flags("fox", single_word=True),
            },
            "eos_token": "<|im_end|>",
        },
    },
    "added_tokens_decoder with another name for a piece": {
        "tokenizer_config.json": {
            "added_tokens_decoder": {
                "330": flags("<|im_start|>", special=True),
                "340": flags("<|im_end|>", special=True),
            },
            "pad_token": "<pad>",
        },
    },
    "special tokens that are nowhere": {
        "tokenizer_config.json": {
            "extra_special_tokens": ["<|im_start|>", "</s>"],
            "eos_token": "<|im_end|>",
        },
    },
}


@pytest.fixture(scope="module")
def pieces() -> bytes:
    return tiny.sentencepiece_bytes()


@pytest.mark.parametrize("files", PIECES.values(), ids=PIECES)
def test_added_tokens_of_sentencepiece_are_added_in_the_same_way(
    files: dict[str, Any], pieces: bytes, tmp_path: Path
) -> None:
    tokenizer = open_tokenizer(write(tmp_path, pieces, files), name="m", vocab_size=ROWS)
    texts = [
        "The quick fox foxy  fox.",
        "<|im_start|>user\nThe <|im_end|> \n x<|im_end|>",
        "a  <think> The</s>The <s>The<unk> <pad>né",
    ]
    check_agreement(tokenizer, AutoTokenizer.from_pretrained(tmp_path), texts)
