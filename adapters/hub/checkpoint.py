"""A checkpoint on the Hub, whose weights are downloaded on demand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Generic, TypeVar

import attrs

from litgpt.adapters.hub.download import Download
from litgpt.domain.errors import MissingFile
from litgpt.domain.ports import Checkpoint
from litgpt.domain.progress import Reporter
from litgpt.domain.tokenizer_source import TokenizerSource
from litgpt.domain.weights.tensor_info import DType, TensorInfo

TensorT = TypeVar("TensorT")


@attrs.define
class HubCheckpoint(Generic[TensorT]):
    """A snapshot in the cache with a pending download of its weights."""

    origin: str
    _snapshot: Checkpoint[TensorT]
    _download: Download | None = None
    extra_notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self._snapshot.name

    @property
    def folder(self) -> Path | None:
        return self._snapshot.folder

    @property
    def path(self) -> Path | None:
        return self._snapshot.path

    @property
    def config(self) -> Mapping[str, object]:
        return self._snapshot.config

    @property
    def generation_config(self) -> Mapping[str, object]:
        return self._snapshot.generation_config

    @property
    def prompt_style(self) -> str | None:
        return self._snapshot.prompt_style

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.extra_notes, *self._snapshot.notes)

    @property
    def tokenizer(self) -> TokenizerSource:
        return self._snapshot.tokenizer

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return self._snapshot.tensors

    def fetch(self, report: Reporter) -> None:
        """Download the weight files that are missing from the cache."""
        if self._download is not None:
            self._download.run(report)
            self._download = None

    def read(self, name: str, dtype: DType | None = None) -> TensorT:
        if self._download is not None:
            raise MissingFile(
                f"{name!r} of {self.name}", "its weights are not downloaded yet. Call fetch() before read()."
            )
        return self._snapshot.read(name, dtype)

    def close(self) -> None:
        self._snapshot.close()
