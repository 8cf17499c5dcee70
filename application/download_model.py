"""Download a model for later use without network access."""

from typing import Generic, TypeVar

import attrs

from litgpt.domain.ports import CheckpointInfo, ModelStore
from litgpt.domain.progress import Notice, Reporter
from litgpt.domain.reference import ModelReference

TensorT = TypeVar("TensorT")


@attrs.frozen
class DownloadModel(Generic[TensorT]):
    """Downloads the latest version of a model, or the requested revision."""

    store: ModelStore[TensorT]

    def __call__(self, reference: ModelReference, report: Reporter) -> CheckpointInfo:
        """Download the missing files of a model."""
        if reference.offline is None:
            reference = attrs.evolve(reference, offline=False)  # to check the Hub for the latest version
        checkpoint = self.store.open(reference)
        try:
            tensors = checkpoint.tensors.values()
            numel, nbytes = sum(tensor.numel for tensor in tensors), sum(tensor.nbytes for tensor in tensors)
            size = f"{numel / 1e6:,.1f} million weights, {nbytes / 1e6:,.1f} MB"
            report(Notice(f"{checkpoint.origin}: {size}"))
            checkpoint.fetch(report)
            return checkpoint
        finally:
            checkpoint.close()
