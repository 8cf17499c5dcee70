"""Tests of exported tokenizers: read back as the same tokenizer, here and by transformers."""

from pathlib import Path

import attrs
import pytest

from litgpt.adapters.checkpoints.gguf.checkpoint import open_gguf
from litgpt.adapters.tokenization.export import export_tokenizer
from litgpt.adapters.tokenization.factory import open_tokenizer
from litgpt.domain.errors import MissingFile
from litgpt.domain.tokenizer_source import TokenizerFiles

TEXTS = (
    "What is the capital of France?",
    " né 🦙\n\n  x",
    "a  b   c\t\ttabs",
    "<|im_start|>user\nhi<|im_end|>",
    "<start_of_turn>user\nhello<end_of_turn>",
    "1234 5678, 日本語 テキスト",
    "",
)


def written(source: object, folder: Path) -> TokenizerFiles:
    """Return the files of a tokenizer, written to a folder."""
    files = export_tokenizer(source, name="m")  # type: ignore[arg-type]
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return TokenizerFiles({name: folder / name for name in files})


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("model", ["smollm2_gguf", "gemma3_gguf"])
def test_the_vocabulary_of_a_gguf_file_becomes_files(
    model: str, request: pytest.FixtureRequest, tmp_path: Path, *, ends: bool
) -> None:
    from transformers import AutoTokenizer

    vocabulary = open_gguf(request.getfixturevalue(model), "m").read_tokenizer()
    if ends:
        vocabulary = attrs.evolve(vocabulary, add_eos=True)  # type: ignore[misc]
    before = open_tokenizer(vocabulary, name="m")
    after = open_tokenizer(written(vocabulary, tmp_path), name="m")
    reference = AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        ids = before.encode(text, eos=True)
        assert after.encode(text, eos=True) == ids
        added = [before.eos_id] if ends else []
        assert reference(text).input_ids == [*before.encode(text), *added]
        assert after.decode(ids) == before.decode(ids)
    assert (after.bos_id, after.adds_bos, after.stop_token_ids) == (
        before.bos_id,
        before.adds_bos,
        before.stop_token_ids,
    )
    assert after.has_chat_template == before.has_chat_template


def test_a_sentencepiece_model_is_saved_and_encodes_the_same(gemma3_gguf: Path, tmp_path: Path) -> None:
    vocabulary = open_gguf(gemma3_gguf, "m").read_tokenizer()
    files = dict(written(vocabulary, tmp_path).paths)
    del files["tokenizer.json"]
    before, after = (open_tokenizer(value, name="m") for value in (vocabulary, TokenizerFiles(files)))
    assert [after.encode(text) for text in TEXTS] == [before.encode(text) for text in TEXTS]


def test_files_are_copied_unchanged(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    source = TokenizerFiles({"tokenizer.json": tmp_path / "tokenizer.json"})
    assert export_tokenizer(source, name="m") == {"tokenizer.json": b"{}"}
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(MissingFile, match=r"tokenizer\.json"):
        export_tokenizer(source, name="m")
