"""Models that transformers computes. Only this package imports transformers, for such a model."""

from collections.abc import Mapping

from litgpt.domain.families import ResolvedModel
from litgpt.domain.weights.tensor_info import TensorInfo


def bridge_model(
    name: str, config: Mapping[str, object], tensors: Mapping[str, TensorInfo], reason: str
) -> ResolvedModel:
    """Implement the port `ModelBridge`; importing torch and transformers takes seconds."""
    from litgpt.adapters.pytorch.bridge.describe import describe

    return describe(name, config, tensors, reason)
