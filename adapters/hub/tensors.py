"""Tensors of a repository on the Hub, whose files are downloaded on demand."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import attrs

from litgpt.domain.errors import MissingFile
from litgpt.domain.ports import TensorSource
from litgpt.domain.progress import Reporter
from litgpt.domain.weights.raw_tensor import RawTensor
from litgpt.domain.weights.tensor_info import DType, TensorInfo

TensorT = TypeVar("TensorT")


@attrs.define
class HubTensors(Generic[TensorT]):
    """The tensors of the model `name`, in a snapshot with a pending download of its weights."""

    name: str
    _snapshot: TensorSource[TensorT]
    _download: Callable[[Reporter], None] | None

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return self._snapshot.tensors

    def fetch(self, report: Reporter) -> None:
        """Download the weight files that are missing from the cache."""
        if self._download is not None:
            self._download(report)
            self._download = None

    def read(self, name: str, dtype: DType | None = None) -> TensorT:
        self._check_downloaded(name)
        return self._snapshot.read(name, dtype)

    def raw(self, name: str) -> RawTensor | None:
        self._check_downloaded(name)
        return self._snapshot.raw(name)

    def _check_downloaded(self, name: str) -> None:
        if self._download is not None:
            raise MissingFile(
                f"{name!r} of {self.name}", "its weights are not downloaded yet. Call fetch() before read()."
            )

    def close(self) -> None:
        self._snapshot.close()
