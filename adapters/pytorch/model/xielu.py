"""xIELU: an activation that learns how steep it is, apart for either side (arXiv:2411.13010)."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class XIELU(nn.Module):
    """`alpha_p x² + beta x` above 0, `alpha_n (exp(x) - 1 - x) + beta x` below.

    The parameters are what softplus makes the steepnesses of; that below is at least `beta`. Just below 0
    the exponential is taken of `eps`.
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
        """Return what becomes of each number."""
        beta, eps = self.beta.to(x.dtype), self.eps.to(x.dtype)
        above = functional.softplus(self.alpha_p) * x * x
        below = (beta + functional.softplus(self.alpha_n)) * (torch.expm1(torch.minimum(x, eps)) - x)
        return torch.where(x > 0, above, below) + beta * x
