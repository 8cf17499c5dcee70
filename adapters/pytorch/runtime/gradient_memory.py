"""Whether there is memory for the gradients of a backward pass, known before it begins."""

import torch
from torch import nn

from litgpt.adapters.pytorch.runtime.system_memory import allocatable_memory
from litgpt.domain.memory.preflight import check_bytes

_SMALL = 2**28
"""Bytes that are not worth a look at the system's memory in each step."""


def check_gradients(model: nn.Module) -> None:
    """Raise if the gradients of a model in host memory cannot be allocated.

    Where the system overcommits memory, it would end the process in the backward pass. Optimizer states and
    activations are not counted: the optimizer is not known here. Gradients that a hook consumes in the
    backward pass, and gradients on GPUs, where torch raises an error, are not counted either.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return
    missing = [parameter for parameter in model.parameters() if _needs_gradient(parameter)]
    needed = sum(parameter.nbytes for parameter in missing)
    if needed > _SMALL:
        count = sum(parameter.numel() for parameter in missing)
        remedy = "Train an adapter (add_lora) or fewer of the weights, or use a smaller model or dtype."
        check_bytes(
            f"A backward pass with gradients of {count:,} parameters", needed, allocatable_memory(), remedy
        )


def _needs_gradient(parameter: nn.Parameter) -> bool:
    local = not hasattr(parameter, "full_tensor")  # of a DTensor, this process has only a part
    allocates = parameter.requires_grad and parameter.grad is None and parameter.device.type == "cpu"
    return local and allocates and not parameter._post_accumulate_grad_hooks  # noqa: SLF001 - not public
