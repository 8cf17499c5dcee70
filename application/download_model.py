"""Download a model, so that it can be loaded later without a network."""

from pathlib import Path
from typing import Generic, TypeVar

import attrs

from litgpt.domain.ports import ModelStore
from litgpt.domain.progress import Notice, Reporter
from litgpt.domain.reference import ModelReference

TensorT = TypeVar("TensorT")


@attrs.frozen
class DownloadedModel:
    """A model that is on this machine.

    Attributes:
        name: What it was asked for as.
        origin: Where it came from, in words.
        folder: The folder it lies in, if it lies in one.
        num_parameters: How many weights it has.
        nbytes: The bytes that they take.

    """

    name: str
    origin: str
    folder: Path | None
    num_parameters: int
    nbytes: int


@attrs.frozen
class DownloadModel(Generic[TensorT]):
    """Brings a model to this machine, in its newest version unless a revision is named.

    Attributes:
        store: Where models are.

    """

    store: ModelStore[TensorT]

    def __call__(self, reference: ModelReference, report: Reporter) -> DownloadedModel:
        """Download what is missing of a model, and return where it is.

        Raises:
            ModelNotFound: Nobody has it.
            BadCheckpoint: Its files cannot be used.
            AccessDenied: The Hub does not give it to us.
            HubUnreachable: The Hub does not answer.
            OutOfReach: The disk is too full.

        """
        if reference.offline is None:
            reference = attrs.evolve(reference, offline=False)  # so that the Hub is asked for the newest
        checkpoint = self.store.open(reference)
        try:
            tensors = checkpoint.tensors.values()
            found = DownloadedModel(
                name=checkpoint.name,
                origin=checkpoint.origin,
                folder=checkpoint.folder,
                num_parameters=sum(tensor.numel for tensor in tensors),
                nbytes=sum(tensor.nbytes for tensor in tensors),
            )
            size = f"{found.num_parameters / 1e6:,.1f} million weights, {found.nbytes / 1e6:,.1f} MB"
            report(Notice(f"{found.origin}: {size}"))
            checkpoint.fetch(report)
            return found
        finally:
            checkpoint.close()
