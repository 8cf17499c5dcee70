"""The load-balancing loss of MoE routers (Switch Transformer, arXiv:2101.03961), as in transformers.

N tokens, X experts.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.model.moe import Router


class RouterAuxLoss:
    """Collects the router logits of a model during its forward passes."""

    def __init__(self) -> None:
        self.top_k = 1
        self._collected: list[Tensor] | None = None

    def watch(self, model: nn.Module) -> None:
        for module in model.modules():
            if isinstance(module, Router):
                self.top_k = module.top_k
                module.register_forward_hook(self._collect)

    def start(self) -> None:
        self._collected = []

    def loss(self, mask: Tensor) -> Tensor:
        """Stop collecting, and return the loss; `mask` (N,) is 1 for tokens and 0 for padding."""
        collected, self._collected = self._collected or [], None
        return load_balancing_loss(collected, self.top_k, mask)

    def _collect(self, gate: Router, inputs: tuple[Tensor, ...], _: object) -> None:
        # Always computed: gradient checkpointing requires the same operations in the recomputation.
        bias = None if gate.bias is None else gate.bias.float()
        logits = functional.linear(inputs[0].float(), gate.weight.float(), bias)
        if self._collected is not None:
            self._collected.append(logits)


def load_balancing_loss(logits: Sequence[Tensor], top_k: int, mask: Tensor) -> Tensor:
    """Return X times the sum over experts of token fraction times mean router probability.

    Both are means over all layers and tokens (equations 4 to 6 of the paper); the loss is `top_k` for a
    perfectly balanced load. `logits` has (N, X) of each layer; `mask` (N,) is 1 for tokens and 0 for padding.
    """
    weight = mask.float()
    rows = weight.sum().clamp(min=1) * len(logits)
    probabilities = [layer.float().softmax(-1) for layer in logits]
    mean = torch.stack([weight @ layer for layer in probabilities]).sum(0) / rows
    fraction = torch.zeros_like(mean)
    for layer in probabilities:
        experts = layer.topk(top_k, -1).indices
        fraction.scatter_add_(0, experts.flatten(), weight.repeat_interleave(top_k))
    return (fraction / rows * mean).sum() * mean.numel()
