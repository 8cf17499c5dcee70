"""Where NaN or infinite activations begin, found by a second forward pass after a step without a token."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.model.gpt import GPT


@torch.inference_mode()
def first_non_finite(model: GPT, ids: Sequence[int]) -> str | None:
    """Return the first module that makes NaN or infinity of a text, and why; None if none does.

    Args:
        model: The network.
        ids: (T,), the text whose next token could not be drawn.

    """
    found: list[str] = []
    hooks = [
        module.register_forward_hook(_recorder(name or "the model", found))
        for name, module in model.named_modules()
    ]
    try:
        with torch.autocast(model.lm_head.weight.device.type, enabled=False):
            model(torch.tensor([ids], device=model.input_device), last_token_only=True)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def _recorder(name: str, found: list[str]) -> Any:
    def record(module: nn.Module, _: object, output: object) -> None:
        if found or not isinstance(output, Tensor) or _is_finite(output):
            return
        damaged = [one for one, weight in module.named_parameters() if not _is_finite(weight)]
        where = f"{name}.{damaged[0]} has NaN or infinite values" if damaged else f"{name} overflows"
        found.append(where)

    return record


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())
