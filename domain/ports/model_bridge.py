"""The port ModelBridge: models that another library computes."""

from collections.abc import Mapping
from typing import Protocol

from litgpt.domain.families import ResolvedModel
from litgpt.domain.weights.tensor_info import TensorInfo


class ModelBridge(Protocol):
    """Describes models for an engine that does not use this library's own network."""

    def __call__(
        self, name: str, config: Mapping[str, object], tensors: Mapping[str, TensorInfo], reason: str
    ) -> ResolvedModel:
        """Return the structure of a model, whose architecture is a `BridgedArchitecture`.

        Args:
            name: The name of the model, for errors.
            config: The contents of `config.json`.
            tensors: The tensors of the checkpoint.
            reason: Why the model does not use this library's own network.

        Raises:
            NotInstalled: The other library is not installed.
            UnsupportedModel: The other library does not have it either.
            InvalidCheckpoint: A setting is not valid, or tensors do not match the config.
        """
        ...
