"""Describe a model: what it is and how it is stored, from headers alone."""

from collections.abc import Mapping
from typing import Generic, TypeVar

import attrs

from litgpt.domain.architecture import Architecture
from litgpt.domain.families import Understood, understand
from litgpt.domain.footprint import parameter_count
from litgpt.domain.ports import ModelStore
from litgpt.domain.reference import ModelReference
from litgpt.domain.sampling import Sampling, sampling_of
from litgpt.domain.tensors import TensorInfo

TensorT = TypeVar("TensorT")


@attrs.frozen
class Stored:
    """The tensors of a checkpoint that are stored in the same format.

    Attributes:
        format: The file's own name for it: `BF16`, `Q4_K`, …
        tensors: How many there are.
        weights: How many numbers they hold.
        nbytes: The bytes they take.

    """

    format: str
    tensors: int
    weights: int
    nbytes: int


@attrs.frozen(kw_only=True)
class Description:
    """A model, as its headers tell it.

    Attributes:
        name: What it was asked for as.
        origin: Where it is, in words.
        architecture: Its structure.
        parameters: How many weights the network has.
        sampling: How answers are drawn where the caller does not say.
        stored: How the checkpoint keeps them, from the format that takes the most bytes to the least.
        notes: What whoever loads it should be told.

    """

    name: str
    origin: str
    architecture: Architecture
    parameters: int
    sampling: Sampling
    stored: tuple[Stored, ...]
    notes: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """The bytes of all tensors together."""
        return sum(one.nbytes for one in self.stored)


@attrs.frozen
class DescribeModel(Generic[TensorT]):
    """Finds a model and says what it is, without its weights.

    Attributes:
        store: Where models are.

    """

    store: ModelStore[TensorT]

    def __call__(self, reference: ModelReference) -> Description:
        """Describe a model that can be loaded; one that cannot is the same error as when it is loaded.

        Raises:
            ModelNotFound: Nobody has it.
            BadCheckpoint: Its files cannot be used; the error lists all that is wrong with its tensors.
            UnsupportedModel: Its family, or a setting of it, is not implemented.

        """
        checkpoint = self.store.open(reference)
        try:
            understood = understand(checkpoint.name, checkpoint.config, checkpoint.tensors)
            architecture = understood.architecture
            return Description(
                name=checkpoint.name,
                origin=checkpoint.origin,
                architecture=architecture,
                parameters=parameter_count(architecture),
                sampling=sampling_of(checkpoint.generation_config),
                stored=_stored(checkpoint.tensors),
                notes=(*checkpoint.notes, *understood.notes, *_of_the_head(understood)),
            )
        finally:
            checkpoint.close()


def _of_the_head(understood: Understood) -> tuple[str, ...]:
    if understood.own_head is None:
        return ()
    count = parameter_count(understood.untied().architecture) - parameter_count(understood.architecture)
    note = (
        "its config.json ties the head to the embedding, and the checkpoint holds a head as well. If that "
        f"differs, which only the weights tell, it is used, and {count / 1e6:,.1f} million parameters more."
    )
    return (note,)


def _stored(tensors: Mapping[str, TensorInfo]) -> tuple[Stored, ...]:
    by_format: dict[str, list[TensorInfo]] = {}
    for tensor in tensors.values():
        by_format.setdefault(tensor.stored_as, []).append(tensor)
    found = [
        Stored(name, len(those), sum(one.numel for one in those), sum(one.nbytes for one in those))
        for name, those in by_format.items()
    ]
    return tuple(sorted(found, key=lambda one: -one.nbytes))
