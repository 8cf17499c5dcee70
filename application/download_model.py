"""Download a model for later use without network access."""

from pathlib import Path
from typing import Generic, TypeVar

import attrs

from litgpt.domain.ports import ModelStore
from litgpt.domain.progress import Notice, Reporter
from litgpt.domain.reference import ModelReference

TensorT = TypeVar("TensorT")


@attrs.frozen
class DownloadedModel:
    """A downloaded model; `origin` is its source in words, `nbytes` the size of its weights."""

    name: str
    origin: str
    folder: Path | None
    num_parameters: int
    nbytes: int


@attrs.frozen
class DownloadModel(Generic[TensorT]):
    """Downloads the latest version of a model, or the requested revision."""

    store: ModelStore[TensorT]

    def __call__(self, reference: ModelReference, report: Reporter) -> DownloadedModel:
        """Download the missing files of a model."""
        if reference.offline is None:
            reference = attrs.evolve(reference, offline=False)  # to check the Hub for the latest version
        checkpoint = self.store.open(reference)
        try:
            tensors = checkpoint.tensors.values()
            model = DownloadedModel(
                name=checkpoint.name,
                origin=checkpoint.origin,
                folder=checkpoint.folder,
                num_parameters=sum(tensor.numel for tensor in tensors),
                nbytes=sum(tensor.nbytes for tensor in tensors),
            )
            size = f"{model.num_parameters / 1e6:,.1f} million weights, {model.nbytes / 1e6:,.1f} MB"
            report(Notice(f"{model.origin}: {size}"))
            checkpoint.fetch(report)
            return model
        finally:
            checkpoint.close()
