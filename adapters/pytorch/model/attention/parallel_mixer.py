"""Attention and a state space over the same input (Falcon-H1, arXiv:2507.22448)."""

from torch import Tensor, nn

from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask
from litgpt.adapters.pytorch.model.attention.kv_sharing import LayerState
from litgpt.adapters.pytorch.model.attention.self_attention import CausalSelfAttention
from litgpt.adapters.pytorch.model.cache.hybrid_cache import HybridCache
from litgpt.adapters.pytorch.model.linear_attention.mamba2 import Mamba2
from litgpt.adapters.pytorch.model.rope import PositionInfo
from litgpt.domain.model import ParallelMixerSpec


class ParallelMixer(nn.Module):
    """The sum of attention and a state space."""

    def __init__(self, hidden_size: int, spec: ParallelMixerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.attention = CausalSelfAttention(hidden_size, spec.attention)
        self.state_space = Mamba2(hidden_size, spec.state_space)

    def forward(
        self, x: Tensor, position: PositionInfo, mask: AttentionMask, cache: LayerState, cache_position: int
    ) -> Tensor:
        keys, state = None, None
        if cache is not None:
            assert isinstance(cache, HybridCache)  # noqa: S101 - determined by the architecture
            keys, state = cache.attention, cache.state
        before, after = self.spec.attention_scales
        attended: Tensor = self.attention(x * before, position, mask, keys, cache_position) * after
        before, after = self.spec.state_space_scales
        out: Tensor = attended + self.state_space(x * before, position, mask, state, cache_position) * after
        return out
