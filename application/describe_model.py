"""Describe a model from its headers, without reading weights."""

from collections.abc import Mapping
from typing import Generic, TypeVar

import attrs

from litgpt.application.resolve_checkpoint import resolve_checkpoint
from litgpt.domain.families import ResolvedModel
from litgpt.domain.generation.sampling_params import SamplingParams, model_sampling_params
from litgpt.domain.memory.estimate import parameter_count
from litgpt.domain.model import Architecture
from litgpt.domain.ports import ModelBridge, ModelStore
from litgpt.domain.reference import ModelReference
from litgpt.domain.weights.tensor_info import TensorInfo

TensorT = TypeVar("TensorT")


@attrs.frozen
class StorageSummary:
    """The tensors of a checkpoint in the same storage format, such as `BF16` or `Q4_K`."""

    format: str
    num_tensors: int
    num_parameters: int
    nbytes: int


@attrs.frozen(kw_only=True)
class ModelDescription:
    """A description of a model; `origin` is its location in words, `storage` has the largest format first."""

    name: str
    origin: str
    architecture: Architecture
    num_parameters: int
    sampling_params: SamplingParams
    storage: tuple[StorageSummary, ...]
    notes: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        return sum(summary.nbytes for summary in self.storage)


@attrs.frozen
class DescribeModel(Generic[TensorT]):
    """Opens a model in the store and describes it."""

    store: ModelStore[TensorT]
    bridge: ModelBridge | None = None

    def __call__(self, reference: ModelReference) -> ModelDescription:
        """Describe a model; the errors are the same as when it is loaded."""
        checkpoint = self.store.open(reference)
        try:
            resolved = resolve_checkpoint(checkpoint, self.bridge)
            architecture = resolved.architecture
            return ModelDescription(
                name=checkpoint.name,
                origin=checkpoint.origin,
                architecture=architecture,
                num_parameters=parameter_count(architecture),
                sampling_params=model_sampling_params(checkpoint.generation_config),
                storage=_storage_summary(checkpoint.tensors),
                notes=(*checkpoint.notes, *resolved.notes, *_head_notes(resolved)),
            )
        finally:
            checkpoint.close()


def _head_notes(resolved: ResolvedModel) -> tuple[str, ...]:
    if resolved.untied_head is None:
        return ()
    count = parameter_count(resolved.untied().architecture) - parameter_count(resolved.architecture)
    note = (
        "config.json ties the LM head to the embedding, but the checkpoint also contains an LM head. If the "
        f"values differ, that LM head is used, with {count / 1e6:,.1f} million additional parameters."
    )
    return (note,)


def _storage_summary(tensors: Mapping[str, TensorInfo]) -> tuple[StorageSummary, ...]:
    by_format: dict[str, list[TensorInfo]] = {}
    for tensor in tensors.values():
        by_format.setdefault(tensor.storage_format, []).append(tensor)
    summaries = [
        StorageSummary(name, len(infos), sum(x.numel for x in infos), sum(x.nbytes for x in infos))
        for name, infos in by_format.items()
    ]
    return tuple(sorted(summaries, key=lambda summary: -summary.nbytes))
