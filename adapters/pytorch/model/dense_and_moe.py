"""A dense MLP in parallel with a mixture of experts."""

from torch import Tensor, nn

from litgpt.adapters.pytorch.model.mlp import GatedMLP
from litgpt.adapters.pytorch.model.moe import MoE
from litgpt.adapters.pytorch.model.norm import Norm
from litgpt.domain.model import DenseAndMoESpec


class DenseAndMoE(nn.Module):
    """The sum of a dense MLP and an MoE, each with its own norms; the router input is not normalized."""

    def __init__(self, hidden_size: int, spec: DenseAndMoESpec) -> None:
        super().__init__()
        self.norm_dense = Norm(hidden_size, spec.norm)
        self.dense = GatedMLP(hidden_size, spec.dense)
        self.post_norm_dense = Norm(hidden_size, spec.norm)
        self.norm_sparse = Norm(hidden_size, spec.norm)
        self.sparse = MoE(hidden_size, spec.moe)
        self.post_norm_sparse = Norm(hidden_size, spec.norm)

    def forward(self, x: Tensor) -> Tensor:
        dense: Tensor = self.post_norm_dense(self.dense(self.norm_dense(x)))
        sparse: Tensor = self.post_norm_sparse(self.sparse(self.norm_sparse(x), router_input=x))
        return dense + sparse
