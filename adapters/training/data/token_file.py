"""Texts as one long row of ids in a file, of which a model is fed windows."""

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
"""Counted up whenever what is written into such a file changes."""


@attrs.frozen
class TokenFile:
    """A file of ids, in as few bytes each as the vocabulary needs.

    Attributes:
        path: The file; its suffix says how wide an id is.

    """

    path: Path

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The type of an id."""
        return np.dtype(self.path.suffix.removeprefix("."))

    def __len__(self) -> int:
        return self.path.stat().st_size // self.dtype.itemsize


@attrs.frozen
class TokenizeCorpus:
    """Writes texts down as ids, once: what is there already is taken.

    Each document begins as the tokenizer begins texts, and ends with its end token.

    Attributes:
        tokenizer: The model's tokenizer.
        folder: Where the files of ids are.
        report: Is told how far it is.
        parse_special_tokens: Whether special tokens in the texts become control tokens.

    """

    tokenizer: Tokenizer
    folder: Path
    report: Callable[[Progress], None]
    parse_special_tokens: bool = False

    def __call__(self, files: Sequence[Path]) -> TokenFile:
        """Return these files as one row of ids.

        Raises:
            InvalidData: A file is no text, or a record has none.
            UnsupportedOperation: The ids cannot be written.

        """
        packed = TokenFile(self.folder / self._name(files))
        if packed.path.is_file():
            return packed
        with self._writable():
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_abandoned(self.folder)
            atomic_write(packed.path, lambda file: self._write(files, packed.dtype, file))
        return packed

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, LitGPTError):  # of a text that cannot be read
                raise
            raise UnsupportedOperation(
                f"Writing the ids of the texts to {self.folder}",
                f"{error.strerror or error}. Pass cache_dir=, a folder that can be written to and has room.",
            ) from error

    def _write(self, files: Sequence[Path], dtype: np.dtype[np.unsignedinteger], file: BinaryIO) -> None:
        def write(ids: list[int]) -> None:
            file.write(np.asarray(ids, dtype).tobytes())

        sizes = [path.stat().st_size for path in files]
        end = self.tokenizer.eos_id
        begun = 0
        for path, size in zip(files, sizes, strict=True):
            read = 0
            for document in documents(path):
                bos: bool | None = None
                line = document.line
                for piece in filter(None, document.chunks):
                    write(self._encode(piece, document.where, line, bos=bos))
                    bos = False
                    line = None if line is None else line + piece.count("\n")
                    read = min(read + len(piece.encode()), size - 1)  # the rest when the file is done
                    self.report(Progress("Encoding texts", begun + max(read, 0), sum(sizes), unit="B"))
                if end is not None and bos is not None:  # a document of nothing has no end either
                    write([end])
            begun += size
            self.report(Progress("Encoding texts", begun, sum(sizes), unit="B"))

    def _encode(self, piece: str, where: str, line: int | None, *, bos: bool | None) -> list[int]:
        """Return the ids of a piece of a document, which begins at a line of it, if it has lines."""
        with naming_record(where):
            try:
                return self._ids(piece, bos=bos)
            except Exception:
                for number, text in enumerate(() if line is None else piece.split("\n"), line or 1):
                    with naming_record(f"{where}, line {number}"):
                        self._ids(text, bos=False)
                raise

    def _ids(self, text: str, *, bos: bool | None) -> list[int]:
        escaped = text if self.parse_special_tokens else self.tokenizer.escape(text)
        if escaped == text:
            return self.tokenizer.encode(text, bos=bos)
        return self.tokenizer.encode(escaped, bos=bos, escaped=True)

    def _name(self, files: Sequence[Path]) -> str:
        known = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        written = json.dumps([_LAYOUT, fingerprint(self.tokenizer), self.parse_special_tokens, known])
        width = "uint16" if self.tokenizer.vocab_size <= 1 << 16 else "uint32"
        return f"{sha256(written.encode()).hexdigest()[:24]}.{width}"


class BlockDataset(Dataset[Batch]):
    """Stretches of a row of ids, one after another; what is left at the end is too short for one.

    The file is mapped, so that processes share its memory and only what is read is loaded.

    Args:
        token_file: The row.
        length: The tokens of a window.

    """

    def __init__(self, token_file: TokenFile, length: int) -> None:
        self.token_file = token_file
        self.length = length
        self._many = len(token_file) // length
        self._ids: np.memmap | None = None

    @property
    def tokens(self) -> int:
        """The number of all tokens in windows."""
        return self._many * self.length

    @property
    def longest(self) -> int:
        """The number of tokens in a window."""
        return self.length

    def __len__(self) -> int:
        return self._many

    def __getitem__(self, number: int) -> Batch:
        if not 0 <= number < self._many:
            raise IndexError(number)
        if self._ids is None:  # mapped where it is read: a pickled map would be a copy of the file
            self._ids = np.memmap(self.token_file.path, dtype=self.token_file.dtype, mode="r")
        start = number * self.length
        ids = torch.from_numpy(self._ids[start : start + self.length].astype(np.int64))
        return {"input_ids": ids, "labels": ids}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_ids": None}
