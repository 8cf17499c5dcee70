"""How often tensors were changed in place, for values that are computed from them and kept."""

from torch import Tensor, nn


def version(tensor: Tensor) -> int:
    """Return how often a tensor was changed in place; -1 for one of inference mode, which does not count."""
    return -1 if tensor.is_inference() else tensor._version  # noqa: SLF001 - torch has no public name for it


def weights_version(model: nn.Module) -> int:
    """Return how often the weights that an optimizer may change were changed."""
    return sum(version(weight) for weight in model.parameters() if weight.requires_grad)
