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
    """A snapshot in the cache with a pending download of its weights.

    Attributes:
        origin: A description of the location, for messages.
        extra_notes: Notices about the snapshot itself.

    """

    origin: str
    _snapshot: Checkpoint[TensorT]
    _download: Download | None = None
    extra_notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The requested name."""
        return self._snapshot.name

    @property
    def folder(self) -> Path | None:
        """The folder of the snapshot."""
        return self._snapshot.folder

    @property
    def path(self) -> Path | None:
        """The folder of the snapshot."""
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
        """The name of the prompt style that was saved with the model, if any."""
        return self._snapshot.prompt_style

    @property
    def notes(self) -> tuple[str, ...]:
        """Notices for the user who loads the checkpoint."""
        return (*self.extra_notes, *self._snapshot.notes)

    @property
    def tokenizer(self) -> TokenizerSource:
        """The location of the tokenizer."""
        return self._snapshot.tokenizer

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All tensors by name."""
        return self._snapshot.tensors

    def fetch(self, report: Reporter) -> None:
        """Download the weight files that are missing from the cache.

        Raises:
            HubUnreachable: The Hub stopped responding.
            InsufficientSpace: There is not enough disk space.

        """
        if self._download is not None:
            self._download.run(report)
            self._download = None

    def read(self, name: str, dtype: DType | None = None) -> TensorT:
        """Read a tensor.

        Raises:
            MissingFile: `fetch` has not been called.
            CorruptFile: The contents of a file do not match its header.

        """
        if self._download is not None:
            raise MissingFile(
                f"{name!r} of {self.name}", "its weights are not downloaded yet. Call fetch() before read()."
            )
        return self._snapshot.read(name, dtype)

    def close(self) -> None:
        """Close open files; tensors that were read stay valid."""
        self._snapshot.close()
