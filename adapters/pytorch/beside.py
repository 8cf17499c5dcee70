"""A feed-forward and a mixture of experts beside each other."""

from torch import Tensor, nn

from litgpt.adapters.pytorch.experts import MixtureOfExperts
from litgpt.adapters.pytorch.feedforward import GatedMLP
from litgpt.adapters.pytorch.norms import Normalise
from litgpt.domain.architecture import SideBySide


class FeedForwardAndExperts(nn.Module):
    """Both, each between norms of its own, added up; the router reads what no norm has changed."""

    def __init__(self, width: int, both: SideBySide) -> None:
        super().__init__()
        self.norm_dense = Normalise(width, both.norm)
        self.dense = GatedMLP(width, both.dense)
        self.post_norm_dense = Normalise(width, both.norm)
        self.norm_sparse = Normalise(width, both.norm)
        self.sparse = MixtureOfExperts(width, both.sparse)
        self.post_norm_sparse = Normalise(width, both.norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, width) for `x` of that shape."""
        dense: Tensor = self.post_norm_dense(self.dense(self.norm_dense(x)))
        sparse: Tensor = self.post_norm_sparse(self.sparse(self.norm_sparse(x), routed_by=x))
        return dense + sparse
