"""Locate the first NaN or infinite activation with a second forward pass."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.model.causal_lm import CausalLM


@torch.inference_mode()
def first_non_finite(model: CausalLM, ids: Sequence[int]) -> str | None:
    """Return the first module with a non-finite output, and the cause; None if all outputs are finite.

    `ids` (T,) is the sequence whose next token could not be sampled.
    """
    locations: list[str] = []
    hooks = [
        module.register_forward_hook(_recorder(name or "the model", locations))
        for name, module in model.named_modules()
    ]
    try:
        with torch.autocast(model.head_weight.device.type, enabled=False):
            model(torch.tensor([ids], device=model.input_device), last_token_only=True)
    finally:
        for hook in hooks:
            hook.remove()
    return locations[0] if locations else None


def _recorder(name: str, locations: list[str]) -> Any:
    def record(module: nn.Module, _: object, output: object) -> None:
        if locations or not isinstance(output, Tensor) or _is_finite(output):
            return
        damaged = [leaf for leaf, weight in module.named_parameters() if not _is_finite(weight)]
        locations.append(
            f"{name}.{damaged[0]} has NaN or infinite values" if damaged else f"{name} overflows"
        )

    return record


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())
