"""Validation of the token ids that a caller passes to a model."""

import torch
from torch import Tensor

from litgpt.adapters.pytorch.model.loss import IGNORE_INDEX
from litgpt.domain.errors import InvalidArgument, WrongType

_BATCH = ("B", "T")


def check_shape(name: str, ids: object) -> None:
    """Raise unless `ids` is a non-empty tensor of shape (B, T)."""
    if not isinstance(ids, Tensor):
        raise WrongType(name, ids, "a tensor of shape (B, T), such as torch.tensor([[1, 2, 3]])")
    if ids.ndim != len(_BATCH) or not ids.numel():
        raise InvalidArgument(name, tuple(ids.shape), "a tensor of shape (B, T) with at least one token")


def check_targets(input_ids: Tensor, target_ids: Tensor) -> None:
    """Raise unless the targets have the shape of the inputs."""
    check_shape("target_ids", target_ids)
    if input_ids.shape != target_ids.shape:
        expected = f"of the shape of input_ids, {tuple(input_ids.shape)}: targets are not shifted"
        raise InvalidArgument("target_ids", tuple(target_ids.shape), expected)


def check_length(input_ids: Tensor, context_length: int) -> None:
    """Raise if rows are longer than the model's context."""
    if input_ids.shape[-1] > context_length:
        expected = f"at most {context_length} tokens long, the model's context length"
        raise InvalidArgument("input_ids", input_ids.shape[-1], expected)


def check_ids(name: str, ids: Tensor, vocab_size: int) -> None:
    """Raise unless all ids are in the vocabulary; -100 is allowed in targets.

    Ids on a GPU are not checked, because reading them would synchronize with the device.
    """
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise WrongType(name, ids.dtype, "a tensor of token ids, which are integers (torch.long)")
    if ids.device.type != "cpu" or not ids.numel() or torch.compiler.is_compiling():
        return
    checked = ids if name == "input_ids" else ids.masked_fill(ids == IGNORE_INDEX, 0)
    for token_id in map(int, checked.aminmax()):
        if not 0 <= token_id < vocab_size:
            raise InvalidArgument(name, token_id, f"a tensor of token ids from 0 to {vocab_size - 1}")
