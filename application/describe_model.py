"""Describe a model: what it is and how it is stored, from headers alone."""

from collections.abc import Mapping
from typing import Generic, TypeVar

import attrs

from litgpt.domain.families import ResolvedModel, resolve_model
from litgpt.domain.generation.sampling_params import SamplingParams, model_sampling_params
from litgpt.domain.memory.estimate import parameter_count
from litgpt.domain.model import Architecture
from litgpt.domain.ports import ModelStore
from litgpt.domain.reference import ModelReference
from litgpt.domain.weights.tensor_info import TensorInfo

TensorT = TypeVar("TensorT")


@attrs.frozen
class StorageSummary:
    """The tensors of a checkpoint that are stored in the same format.

    Attributes:
        format: The file's own name for it: `BF16`, `Q4_K`, …
        num_tensors: How many there are.
        num_parameters: How many numbers they hold.
        nbytes: The bytes they take.

    """

    format: str
    num_tensors: int
    num_parameters: int
    nbytes: int


@attrs.frozen(kw_only=True)
class ModelDescription:
    """A model, as its headers tell it.

    Attributes:
        name: What it was asked for as.
        origin: Where it is, in words.
        architecture: Its structure.
        num_parameters: How many weights the network has.
        sampling_params: How answers are drawn where the caller does not say.
        storage: How the checkpoint keeps them, from the format that takes the most bytes to the least.
        notes: What whoever loads it should be told.

    """

    name: str
    origin: str
    architecture: Architecture
    num_parameters: int
    sampling_params: SamplingParams
    storage: tuple[StorageSummary, ...]
    notes: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """The bytes of all tensors together."""
        return sum(one.nbytes for one in self.storage)


@attrs.frozen
class DescribeModel(Generic[TensorT]):
    """Finds a model and says what it is, without its weights.

    Attributes:
        store: Where models are.

    """

    store: ModelStore[TensorT]

    def __call__(self, reference: ModelReference) -> ModelDescription:
        """Describe a model that can be loaded; one that cannot is the same error as when it is loaded.

        Raises:
            ModelNotFound: Nobody has it.
            BadCheckpoint: Its files cannot be used; the error lists all that is wrong with its tensors.
            UnsupportedModel: Its family, or a setting of it, is not implemented.

        """
        checkpoint = self.store.open(reference)
        try:
            understood = resolve_model(checkpoint.name, checkpoint.config, checkpoint.tensors)
            architecture = understood.architecture
            return ModelDescription(
                name=checkpoint.name,
                origin=checkpoint.origin,
                architecture=architecture,
                num_parameters=parameter_count(architecture),
                sampling_params=model_sampling_params(checkpoint.generation_config),
                storage=_storage_summary(checkpoint.tensors),
                notes=(*checkpoint.notes, *understood.notes, *_head_notes(understood)),
            )
        finally:
            checkpoint.close()


def _head_notes(resolved: ResolvedModel) -> tuple[str, ...]:
    if resolved.untied_head is None:
        return ()
    count = parameter_count(resolved.untied().architecture) - parameter_count(resolved.architecture)
    note = (
        "its config.json ties the head to the embedding, and the checkpoint holds a head as well. If that "
        f"differs, which only the weights tell, it is used, and {count / 1e6:,.1f} million parameters more."
    )
    return (note,)


def _storage_summary(tensors: Mapping[str, TensorInfo]) -> tuple[StorageSummary, ...]:
    by_format: dict[str, list[TensorInfo]] = {}
    for tensor in tensors.values():
        by_format.setdefault(tensor.storage_format, []).append(tensor)
    found = [
        StorageSummary(name, len(those), sum(one.numel for one in those), sum(one.nbytes for one in those))
        for name, those in by_format.items()
    ]
    return tuple(sorted(found, key=lambda one: -one.nbytes))
