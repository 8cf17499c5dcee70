"""Checks of the token ids that a caller passes to a model."""

import torch
from torch import Tensor

from litgpt.adapters.pytorch.model.loss import IGNORE_INDEX
from litgpt.domain.errors import InvalidArgument, WrongType

_BATCH = ("B", "T")


def check_shape(name: str, ids: object) -> None:
    """Refuse what is not a tensor (B, T) of at least one token."""
    if not isinstance(ids, Tensor):
        raise WrongType(name, ids, "a tensor of shape (B, T), such as torch.tensor([[1, 2, 3]])")
    if ids.ndim != len(_BATCH) or not ids.numel():
        raise InvalidArgument(name, tuple(ids.shape), "a tensor of shape (B, T) that is not empty")


def check_targets(input_ids: Tensor, target_ids: Tensor) -> None:
    """Refuse targets of another shape than the inputs'."""
    check_shape("target_ids", target_ids)
    if input_ids.shape != target_ids.shape:
        expected = f"of the shape of input_ids, {tuple(input_ids.shape)}: targets are not shifted"
        raise InvalidArgument("target_ids", tuple(target_ids.shape), expected)


def check_length(input_ids: Tensor, context_length: int) -> None:
    """Refuse rows that are longer than the model's context."""
    if input_ids.shape[-1] > context_length:
        expected = f"of at most {context_length} tokens in a row, the model's context"
        raise InvalidArgument("input_ids", input_ids.shape[-1], expected)


def check_ids(name: str, ids: Tensor, vocab_size: int) -> None:
    """Refuse ids that the embedding has no row for.

    Those on a GPU are left to torch, because reading them would wait for everything before.
    """
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise WrongType(name, ids.dtype, "a tensor of token ids, which are integers (torch.long)")
    if ids.device.type != "cpu" or not ids.numel() or torch.compiler.is_compiling():
        return
    learned = ids if name == "input_ids" else ids.masked_fill(ids == IGNORE_INDEX, 0)
    for bad in map(int, learned.aminmax()):
        if not 0 <= bad < vocab_size:
            raise InvalidArgument(name, bad, f"made of token ids from 0 to {vocab_size - 1}")
