"""Tokenize a corpus into one file of token ids, and read fixed-length blocks from it."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import attrs
import numpy as np
import torch
from torch.utils.data import Dataset

from litgpt.adapters.training.data.documents import documents
from litgpt.adapters.training.data.record_files import naming_record
from litgpt.adapters.training.data.sft_dataset import Batch
from litgpt.application.files.atomic_write import atomic_write, remove_abandoned
from litgpt.application.training.tokenizer_fingerprint import fingerprint
from litgpt.domain.errors import LitGPTError, UnsupportedOperation
from litgpt.domain.ports import Tokenizer
from litgpt.domain.progress import Progress

_LAYOUT = 2
"""The version of the file contents; increased with each change."""


@attrs.frozen
class TokenFile:
    """A file of token ids, uint16 or uint32 depending on the vocabulary size; its suffix is the dtype."""

    path: Path

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        return np.dtype(self.path.suffix.removeprefix("."))

    def __len__(self) -> int:
        return self.path.stat().st_size // self.dtype.itemsize


@attrs.frozen
class TokenizeCorpus:
    """Tokenizes text files into TokenFiles that are cached in `folder`.

    Each document starts with BOS if the tokenizer adds it, and ends with EOS.
    """

    tokenizer: Tokenizer
    folder: Path
    report: Callable[[Progress], None]
    parse_special_tokens: bool = False

    def __call__(self, files: Sequence[Path]) -> TokenFile:
        token_file = TokenFile(self.folder / self._name(files))
        if token_file.path.is_file():
            return token_file
        with self._writable():
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_abandoned(self.folder)
            atomic_write(token_file.path, lambda file: self._write(files, token_file.dtype, file))
        return token_file

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, LitGPTError):  # an input file cannot be read
                raise
            raise UnsupportedOperation(
                f"Writing token ids to {self.folder}",
                f"{error.strerror or error}. Pass cache_dir= with a writable folder that has free space.",
            ) from error

    def _write(self, files: Sequence[Path], dtype: np.dtype[np.unsignedinteger], file: BinaryIO) -> None:
        def write(ids: list[int]) -> None:
            file.write(np.asarray(ids, dtype).tobytes())

        sizes = [path.stat().st_size for path in files]
        eos = self.tokenizer.eos_id
        offset = 0
        for path, size in zip(files, sizes, strict=True):
            read = 0
            for document in documents(path):
                bos: bool | None = None
                line = document.line
                for chunk in filter(None, document.chunks):
                    write(self._encode(chunk, document.where, line, bos=bos))
                    bos = False
                    line = None if line is None else line + chunk.count("\n")
                    # The last byte counts when the file is complete.
                    read = min(read + len(chunk.encode()), size - 1)
                    self.report(Progress("Encoding texts", offset + max(read, 0), sum(sizes), unit="B"))
                if eos is not None and bos is not None:  # empty documents are skipped
                    write([eos])
            offset += size
            self.report(Progress("Encoding texts", offset, sum(sizes), unit="B"))

    def _encode(self, chunk: str, where: str, line: int | None, *, bos: bool | None) -> list[int]:
        """Tokenize a chunk that starts at `line`; an error names the line that caused it."""
        with naming_record(where):
            try:
                return self._ids(chunk, bos=bos)
            except Exception:
                for number, text in enumerate(() if line is None else chunk.split("\n"), line or 1):
                    with naming_record(f"{where}, line {number}"):
                        self._ids(text, bos=False)
                raise

    def _ids(self, text: str, *, bos: bool | None) -> list[int]:
        escaped = text if self.parse_special_tokens else self.tokenizer.escape(text)
        if escaped == text:
            return self.tokenizer.encode(text, bos=bos)
        return self.tokenizer.encode(escaped, bos=bos, escaped=True)

    def _name(self, files: Sequence[Path]) -> str:
        inputs = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        key = json.dumps([_LAYOUT, fingerprint(self.tokenizer), self.parse_special_tokens, inputs])
        width = "uint16" if self.tokenizer.vocab_size <= 1 << 16 else "uint32"
        return f"{sha256(key.encode()).hexdigest()[:24]}.{width}"


class BlockDataset(Dataset[Batch]):
    """Consecutive blocks of `length` tokens; an incomplete block at the end is dropped.

    The file is memory-mapped, so processes share its memory.
    """

    def __init__(self, token_file: TokenFile, length: int) -> None:
        self.token_file = token_file
        self.length = length
        self._num_blocks = len(token_file) // length
        self._ids: np.memmap | None = None

    @property
    def tokens(self) -> int:
        return self._num_blocks * self.length

    @property
    def longest(self) -> int:
        return self.length

    def __len__(self) -> int:
        return self._num_blocks

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < self._num_blocks:
            raise IndexError(index)
        if self._ids is None:  # mapped in each process: pickling a map copies the file
            self._ids = np.memmap(self.token_file.path, dtype=self.token_file.dtype, mode="r")
        start = index * self.length
        ids = torch.from_numpy(self._ids[start : start + self.length].astype(np.int64))
        return {"input_ids": ids, "labels": ids}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_ids": None}
