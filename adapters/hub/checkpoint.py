"""A model on the Hub: described at once, downloaded when it is wanted."""

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
    """A snapshot in the cache, and what is to come.

    Attributes:
        origin: Where it is, in words.
        extra_notes: What is to be told of the snapshot itself.

    """

    origin: str
    _snapshot: Checkpoint[TensorT]
    _download: Download | None = None
    extra_notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it was asked for as."""
        return self._snapshot.name

    @property
    def folder(self) -> Path | None:
        """The snapshot in the cache."""
        return self._snapshot.folder

    @property
    def path(self) -> Path | None:
        """The snapshot in the cache."""
        return self._snapshot.path

    @property
    def config(self) -> Mapping[str, object]:
        """The contents of `config.json`."""
        return self._snapshot.config

    @property
    def generation_config(self) -> Mapping[str, object]:
        """The contents of `generation_config.json`; empty if there is none."""
        return self._snapshot.generation_config

    @property
    def prompt_style(self) -> str | None:
        """The name of a prompt style that was saved with it, if one was."""
        return self._snapshot.prompt_style

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever loads it should be told."""
        return (*self.extra_notes, *self._snapshot.notes)

    @property
    def tokenizer(self) -> TokenizerSource:
        """Where its tokenizer is."""
        return self._snapshot.tokenizer

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor it holds, by name."""
        return self._snapshot.tensors

    def fetch(self, report: Reporter) -> None:
        """Download the files of weights that are not in the cache yet.

        Raises:
            HubUnreachable: The Hub does not answer any more.
            UnsupportedOperation: The disk is too full.

        """
        if self._download is not None:
            self._download.run(report)
            self._download = None

    def read(self, name: str, dtype: DType | None = None) -> TensorT:
        """Return a tensor, as the snapshot's folder has it.

        Raises:
            MissingFile: The weights have not been fetched.
            CorruptFile: A file does not hold what its header promised.

        """
        if self._download is not None:
            raise MissingFile(
                f"{name!r} of {self.name}", "its weights are on the Hub still. Call fetch() before read()."
            )
        return self._snapshot.read(name, dtype)

    def close(self) -> None:
        """Let go of open files. Tensors that were read stay valid."""
        self._snapshot.close()
