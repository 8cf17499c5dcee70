"""A feed-forward and a mixture of experts beside each other."""

from torch import Tensor, nn

from litgpt.adapters.pytorch.model.mlp import GatedMLP
from litgpt.adapters.pytorch.model.moe import MoE
from litgpt.adapters.pytorch.model.norm import Norm
from litgpt.domain.model import DenseAndMoESpec


class DenseAndMoE(nn.Module):
    """Both, each between norms of its own, added up; the router reads what no norm has changed."""

    def __init__(self, hidden_size: int, spec: DenseAndMoESpec) -> None:
        super().__init__()
        self.norm_dense = Norm(hidden_size, spec.norm)
        self.dense = GatedMLP(hidden_size, spec.dense)
        self.post_norm_dense = Norm(hidden_size, spec.norm)
        self.norm_sparse = Norm(hidden_size, spec.norm)
        self.sparse = MoE(hidden_size, spec.moe)
        self.post_norm_sparse = Norm(hidden_size, spec.norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, width) for `x` of that shape."""
        dense: Tensor = self.post_norm_dense(self.dense(self.norm_dense(x)))
        sparse: Tensor = self.post_norm_sparse(self.sparse(self.norm_sparse(x), router_input=x))
        return dense + sparse
