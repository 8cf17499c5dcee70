"""Tests of the tokenizer factory: the choice of format, the config files beside it, and mismatches."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer as Library
from tokenizers import processors
from transformers import AutoTokenizer

from litgpt.adapters.tokenization.added_tokens import AddedToken
from litgpt.adapters.tokenization.factory import open_tokenizer
from litgpt.adapters.tokenization.tokenizer_config import read_tokenizer_config
from litgpt.domain.errors import CorruptFile, InvalidArgument, MissingFile, TokenizerMismatch
from litgpt.domain.tokenizer_source import TokenizerFiles
from tests.adapters import tiny_tokenizers as tiny


@pytest.fixture(scope="module")
def library() -> Library:
    return tiny.byte_level()


def test_a_missing_tokenizer_names_the_expected_files(tmp_path: Path) -> None:
    with pytest.raises(
        TokenizerMismatch,
        match=r"^m has no tokenizer\. Pass .* tokenizer\.json or tokenizer\.model",
    ):
        open_tokenizer(tiny.write(tmp_path, {"tokenizer_config.json": {}}), name="m")


def test_a_tokenizer_that_is_larger_than_its_model_is_refused_with_both_numbers(
    library: Library, tmp_path: Path
) -> None:
    largest = library.get_vocab_size() - 1
    with pytest.raises(TokenizerMismatch, match=rf"ids up to {largest}, but the model has 200 .*0 to 199"):
        open_tokenizer(tiny.write(tmp_path, {"tokenizer.json": library}), name="m", vocab_size=200)


def test_an_added_token_without_embedding_is_refused_only_where_it_is_used(
    library: Library, tmp_path: Path
) -> None:
    think = library.token_to_id("<think>")  # the last one, as Gemma 3's token for images is
    source = tiny.write(tmp_path, {"tokenizer.json": library})
    tokenizer = open_tokenizer(source, name="m", vocab_size=think)
    assert tokenizer.vocab_size == think
    assert tokenizer.token_to_id("<think>") is None
    assert tokenizer.decode(tokenizer.encode("a")) == "a"
    with pytest.raises(InvalidArgument, match="for which m has no embedding, not '<think>'"):
        tokenizer.encode("a<think>")


@pytest.mark.parametrize("config", [{"eos_token": "<think>"}, {"chat_template": "{{ '<think>' }}"}])
def test_an_eos_or_template_token_without_embedding_is_a_mismatch(
    config: dict[str, str], library: Library, tmp_path: Path
) -> None:
    source = tiny.write(tmp_path, {"tokenizer.json": library, "tokenizer_config.json": config})
    with pytest.raises(TokenizerMismatch, match="tokens were added to it and not to the model"):
        open_tokenizer(source, name="m", vocab_size=library.token_to_id("<think>"))


def test_special_tokens_are_written_as_texts_or_as_objects_in_either_file(tmp_path: Path) -> None:
    config = {"bos_token": {"content": "<s>", "special": True}, "unk_token": None, "mask_token": 3}
    others = {"eos_token": {"content": "</s>"}, "unk_token": "<unk>"}
    paths = tiny.write(tmp_path, {"tokenizer_config.json": config, "special_tokens_map.json": others}).paths
    assert read_tokenizer_config(paths).special_tokens == {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }


def test_malformed_flags_and_tokens_of_a_tokenizer_config_are_ignored(tmp_path: Path) -> None:
    tokens = {"7": "b", "8": {"content": ""}, "9": {"content": "c", "special": 1}, "9" * 5000: "far"}
    config = {"add_bos_token": "yes", "added_tokens_decoder": {"x": "a", **tokens}, "legacy": None}
    tokenizer_config = read_tokenizer_config(tiny.write(tmp_path, {"tokenizer_config.json": config}).paths)
    assert tokenizer_config.add_bos is None
    assert tokenizer_config.legacy
    assert tokenizer_config.added_tokens.by_id == {
        7: AddedToken("b", special=True),
        9: AddedToken("c", special=False),
    }
    older = {"d": 10, "e": -1, "f": "11", "g": True, "": 12, "h": 10**30}
    tokenizer_config = read_tokenizer_config(tiny.write(tmp_path, {"added_tokens.json": older}).paths)
    assert tokenizer_config.added_tokens.by_id == {10: AddedToken("d", special=False)}


NAMED = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"tokenizer_config.json": {"chat_template": "C"}}, "C"),
        ({"tokenizer_config.json": {"chat_template": NAMED}}, "D"),
        ({"tokenizer_config.json": {"chat_template": NAMED[:1]}}, "T"),
        ({"tokenizer_config.json": {"chat_template": [*NAMED[:1], {"name": "rag", "template": "R"}]}}, None),
        ({"tokenizer_config.json": {"chat_template": [3]}}, None),
        ({"tokenizer_config.json": {"chat_template": "C"}, "chat_template.jinja": "J é\n"}, "J é\n"),
        ({"chat_template.json": {"chat_template": "X"}}, "X"),
        (
            {"tokenizer_config.json": {"chat_template": "C"}, "chat_template.json": {"chat_template": "X"}},
            "C",
        ),
    ],
)
def test_the_chat_template_is_found_wherever_it_is(
    files: dict[str, object], expected: str | None, tmp_path: Path
) -> None:
    assert read_tokenizer_config(tiny.write(tmp_path, files).paths).chat_template == expected


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"])
def test_a_small_file_that_cannot_be_read_is_damaged(name: str, content: bytes, tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match=f"{name} is damaged"):
        read_tokenizer_config(tiny.write(tmp_path, {name: content}).paths)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model", "chat_template.jinja"])
def test_a_file_that_went_away_is_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=name):
        open_tokenizer(TokenizerFiles({name: tmp_path / name}), name="m")


@pytest.mark.parametrize("single", ["$A <|im_end|>", "<|begin|> $A <|im_end|>", "<|begin|> $A"])
@pytest.mark.parametrize("flag", [False, True])
def test_a_text_ends_with_the_token_that_tokenizer_json_adds(
    tmp_path: Path, single: str, *, flag: bool
) -> None:
    library = tiny.byte_level()
    ids = [(token, library.token_to_id(token)) for token in ("<|begin|>", "<|im_end|>")]
    library.post_processor = processors.TemplateProcessing(single=single, special_tokens=ids)
    config = {"eos_token": "<|im_end|>", "add_eos_token": flag, "tokenizer_class": "PreTrainedTokenizerFast"}
    files = tiny.write(tmp_path, {"tokenizer.json": library, "tokenizer_config.json": config})
    opened = open_tokenizer(files, name="m")
    reference = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("Hi there", ""):
        assert opened.encode(text, eos=True) == reference(text)["input_ids"]
    assert opened.encode("Hi")[-1] != ids[1][1]  # a prompt goes on
    assert opened.encode("Hi<|im_end|>", eos=True).count(ids[1][1]) == 1


@pytest.mark.parametrize("flag", [False, True])
def test_a_sentencepiece_model_ends_a_text_if_its_config_says_so(tmp_path: Path, *, flag: bool) -> None:
    model = tiny.sentencepiece_bytes()
    files = tiny.write(tmp_path, {"tokenizer.model": model, "tokenizer_config.json": {"add_eos_token": flag}})
    opened = open_tokenizer(files, name="m")
    assert opened.eos_id is not None
    assert opened.encode("Hi", eos=True) == [*opened.encode("Hi"), *([opened.eos_id] if flag else [])]
