"""The load-balancing loss of experts: Switch Transformer's (arXiv:2101.03961), as transformers has it.

N tokens, X experts.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.model.moe import Router


class RouterAuxLoss:
    """Collects the logits of a model's routers while tokens go through it."""

    def __init__(self) -> None:
        self.top_k = 1
        self._collected: list[Tensor] | None = None

    def watch(self, model: nn.Module) -> None:
        """Collect those of this model, from now on."""
        for module in model.modules():
            if isinstance(module, Router):
                self.top_k = module.top_k
                module.register_forward_hook(self._collect)

    def start(self) -> None:
        """Begin to collect."""
        self._collected = []

    def loss(self, mask: Tensor) -> Tensor:
        """Return the load-balancing loss of what was collected, and collect nothing more.

        Args:
            mask: (N,), 1 for tokens that count and 0 for padding.

        """
        collected, self._collected = self._collected or [], None
        return load_balancing_loss(collected, self.top_k, mask)

    def _collect(self, gate: Router, inputs: tuple[Tensor, ...], _: object) -> None:
        # Computed whether collected or not: checkpointing expects what it computes again to be the same.
        bias = None if gate.bias is None else gate.bias.float()
        logits = functional.linear(inputs[0].float(), gate.weight.float(), bias)
        if self._collected is not None:
            self._collected.append(logits)


def load_balancing_loss(logits: Sequence[Tensor], top_k: int, mask: Tensor) -> Tensor:
    """Return X times the sum over experts of the share of tokens and the mean probability that each gets.

    Both are means over all layers and tokens (equations 4 to 6 of the paper); the loss is `top_k` where the
    load is even.

    Args:
        logits: Those of each layer's router, (N, X).
        top_k: How many experts each token goes to.
        mask: (N,), 1 for tokens that count and 0 for padding.

    """
    counted = mask.float()
    rows = counted.sum().clamp(min=1) * len(logits)
    probabilities = [one.float().softmax(-1) for one in logits]
    mean = torch.stack([counted @ one for one in probabilities]).sum(0) / rows
    share = torch.zeros_like(mean)
    for one in probabilities:
        experts = one.topk(top_k, -1).indices
        share.scatter_add_(0, experts.flatten(), counted.repeat_interleave(top_k))
    return (share / rows * mean).sum() * mean.numel()
