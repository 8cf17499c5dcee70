"""Tests of texts to pretrain on: tokenized once, memory-mapped, every token in order."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from litgpt.adapters.training.data import documents
from litgpt.data import TextFiles
from litgpt.domain.errors import InvalidArgument, UnsupportedOperation
from litgpt.domain.training.errors import DataNotFound, InvalidData
from litgpt.testing import ByteTokenizer
from tests.adapters.recording import LIGHTNINGS_OWN, Recorder, trainer

pytestmark = LIGHTNINGS_OWN

BYTES = ByteTokenizer()
END = BYTES.eos_id


def folder(path: Path, **files: str) -> Path:
    path.mkdir(exist_ok=True)
    for name, text in files.items():
        (path / f"{name}.txt").write_text(text, encoding="utf-8", newline="")
    return path


def connected(module: TextFiles, length: int = 4, tokenizer: ByteTokenizer = BYTES) -> TextFiles:
    module.connect(tokenizer, batch_size=1, max_seq_length=length)
    return module


def windows(module: TextFiles) -> list[list[int]]:
    """Return the blocks of the training set in the order of the text."""
    train, _ = module.datasets()
    return [train[number]["input_ids"].tolist() for number in range(len(train))]  # type: ignore[arg-type]


def test_documents_stand_end_to_end_each_with_an_end(tmp_path: Path) -> None:
    module = connected(TextFiles(folder(tmp_path, a="val!", b="one", bb="", c="two2")))
    assert windows(module) == [[*b"one", END], [*b"two2"]]  # the end of the last is less than a window
    (val,) = list(module.val_dataloader())
    assert isinstance(val, dict)
    assert val["input_ids"].tolist() == val["labels"].tolist() == [[*b"val!"]]


def test_each_document_begins_as_the_tokenizer_begins_texts(tmp_path: Path) -> None:
    module = connected(TextFiles(folder(tmp_path, b="ab")), tokenizer=ByteTokenizer(adds_bos=True))
    assert windows(module) == [[BYTES.bos_id, *b"ab", END]]


def test_records_have_a_document_each(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps({"text": text, "source": 1}) + "\n" for text in ("abc", "def")))
    assert windows(connected(TextFiles(path))) == [[*b"abc", END], [*b"def", END]]


def test_a_document_that_is_read_in_pieces_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "Übung macht den Meister.\n\n  Né à Paris,\n" * 40 + "x" * 300 + " and a long last line " * 20
    whole = windows(connected(TextFiles(folder(tmp_path, a=text), cache_dir=tmp_path / "whole")))
    monkeypatch.setattr(documents, "CHUNK_CHARACTERS", 64)
    pieces = list(next(documents.documents(tmp_path / "a.txt")).chunks)
    assert len(pieces) > 20
    assert max(map(len, pieces)) < 3 * 64
    assert "".join(pieces) == text
    assert windows(connected(TextFiles(tmp_path, cache_dir=tmp_path / "pieces"))) == whole


def test_token_files_are_reused_until_texts_or_tokenizer_change(tmp_path: Path) -> None:
    texts = folder(tmp_path, a="abcdefgh")
    cache = tmp_path / ".litgpt"
    connected(TextFiles(texts)).prepare_data()
    (first,) = cache.iterdir()
    written = first.stat().st_mtime_ns
    second = connected(TextFiles(texts), length=2)
    second.prepare_data()
    assert len(windows(second)) == 4
    assert [path.stat().st_mtime_ns for path in cache.iterdir()] == [written]
    connected(TextFiles(texts), tokenizer=ByteTokenizer(adds_bos=True)).prepare_data()
    assert len(list(cache.iterdir())) == 2
    folder(tmp_path, a="abcdefghi")
    connected(TextFiles(texts)).prepare_data()
    assert len(list(cache.iterdir())) == 3


def test_a_failure_leaves_nothing_half_written(tmp_path: Path) -> None:
    texts = folder(tmp_path, a="abcdefgh")
    (texts / "b.txt").write_bytes(b"\xff\xfe\x00")
    (texts / "c.txt").write_text("abcdefgh")
    with pytest.raises(InvalidData, match=r"b\.txt, line 1 .* not encoded in UTF-8"):
        connected(TextFiles(texts)).setup()
    assert [path.suffix for path in (tmp_path / ".litgpt").iterdir()] == [".uint16"]  # that of a.txt


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"good\n" * 400_000 + b"bad \xff\n", r"a\.txt, line 400001 .* not encoded in UTF-8 .*0xff"),
        ("a.txt", b"good\n" * 300_000 + "bad ß\n".encode() + b"good\n" * 9, r"a\.txt, line 300001 .* no ß"),
        ("a.jsonl", b'{"text": "good"}\n{"text": "\\ud83d"}\n', r"a\.jsonl, line 2 .*ud83d"),
        ("a.jsonl", '{"text": "good"}\n{"text": "bad ß"}\n'.encode(), r"a\.jsonl, line 2 .* no ß"),
        ("a.jsonl", b'{"text": "good"}\n{"text": ["good"]}\n', r"a\.jsonl, line 2 .* of type list"),
        ("a.jsonl", b'{"text": "good"}\n{"txt": "good"}\n', r"a\.jsonl, line 2 .* no 'text'"),
    ],
)
def test_text_that_cannot_be_encoded_is_named_with_file_and_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    class Refusing(ByteTokenizer):
        def encode(
            self, text: str, *, bos: bool | None = None, eos: bool = False, escaped: bool = False
        ) -> list[int]:
            if "ß" in text:
                raise InvalidArgument("text", "ß", "a text with no ß")
            return [1] if len(text) > 100 else super().encode(text, bos=bos, eos=eos, escaped=escaped)

    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidData, match=message):
        connected(TextFiles(tmp_path / name), tokenizer=Refusing()).setup()


def test_an_id_takes_as_many_bytes_as_the_vocabulary_needs(tmp_path: Path) -> None:
    class Large(ByteTokenizer):
        vocab_size = 100_000

        def decode(self, ids: Sequence[int], *, include_special_tokens: bool = False) -> str:
            return super().decode(
                [token_id % 256 for token_id in ids], include_special_tokens=include_special_tokens
            )

    texts = folder(tmp_path, a="abc")
    assert windows(connected(TextFiles(texts), tokenizer=Large())) == [[*b"abc", END]]
    assert [path.suffix for path in (tmp_path / ".litgpt").iterdir()] == [".uint32"]


def test_it_is_trained_on_in_another_order_each_epoch_by_other_processes_too(tmp_path: Path) -> None:
    texts = folder(tmp_path, a="v" * 64, b="".join(map(chr, range(33, 127))) * 2)
    fed = []
    for workers in (0, 1):
        module = TextFiles(texts, num_workers=workers)
        module.connect(BYTES, batch_size=4, max_seq_length=8)
        recorder = Recorder()
        trainer(tmp_path, max_epochs=2).fit(recorder, module)
        assert len(recorder.validated) == 4
        fed.append(recorder.fed)
    assert fed[0] == fed[1]
    first, second = fed[0][: len(fed[0]) // 2], fed[0][len(fed[0]) // 2 :]
    assert first != second
    assert sorted(row for batch in first for row in batch) == sorted(row for batch in second for row in batch)


def test_windows_are_handed_to_processes_without_their_texts(tmp_path: Path) -> None:
    module = connected(TextFiles(folder(tmp_path, a="abcd" * 10_000)))
    train, _ = module.datasets()
    assert train[0]["input_ids"].tolist() == [*b"abcd"]
    packed = pickle.dumps(train)
    assert len(packed) < 1000
    assert torch.equal(pickle.loads(packed)[1]["labels"], torch.tensor([*b"abcd"]))  # noqa: S301 - our own


def test_too_little_text_is_an_error_with_figures(tmp_path: Path) -> None:
    texts = folder(tmp_path, a="abc", b="de")
    with pytest.raises(InvalidData, match=r"have 7 tokens, and a single window has 100 \(max_seq_length\)"):
        connected(TextFiles(texts), length=100).setup()
    with pytest.raises(InvalidData, match="have 4 tokens"):
        connected(TextFiles(texts, val_data_path=texts / "a.txt"), length=5).setup()


def test_a_first_file_too_short_for_validation_is_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = connected(TextFiles(folder(tmp_path, a="ab", b="cdefg")))
    assert windows(module) == [[*b"ab", END, *b"c"], [*b"defg"]]
    assert module.val_dataloader() == []
    assert "too short to validate with" in capsys.readouterr().err


def test_missing_or_too_short_texts_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match="nowhere"):
        connected(TextFiles(tmp_path / "nowhere")).setup()
    (tmp_path / "notes.md").write_text("Notes.")
    with pytest.raises(InvalidData, match=r"no files that end in \.txt"):
        connected(TextFiles(tmp_path)).setup()
    module = TextFiles(folder(tmp_path, a="abcd"))
    module.connect(BYTES)
    with pytest.raises(InvalidArgument, match="max_seq_length must be a number of tokens"):
        module.setup()
    (tmp_path / "file").write_text("")
    with pytest.raises(UnsupportedOperation, match="cache_dir="):
        connected(TextFiles(tmp_path, cache_dir=tmp_path / "file" / "ids")).setup()
