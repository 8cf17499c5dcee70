"""The xIELU activation, with a trainable slope on each side of 0 (arXiv:2411.13010)."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class XIELU(nn.Module):
    """`alpha_p x² + beta x` for x > 0, `alpha_n (exp(min(x, eps)) - 1 - x) + beta x` for x <= 0.

    `alpha_p` is the softplus of its parameter, `alpha_n` is `beta` plus the softplus of its parameter.
    """

    beta: Tensor
    eps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.alpha_p = nn.Parameter(torch.empty(1))
        self.alpha_n = nn.Parameter(torch.empty(1))
        self.register_buffer("beta", torch.empty(1))
        self.register_buffer("eps", torch.empty(1))

    def forward(self, x: Tensor) -> Tensor:
        beta, eps = self.beta.to(x.dtype), self.eps.to(x.dtype)
        above = functional.softplus(self.alpha_p) * x * x
        below = (beta + functional.softplus(self.alpha_n)) * (torch.expm1(torch.minimum(x, eps)) - x)
        return torch.where(x > 0, above, below) + beta * x
