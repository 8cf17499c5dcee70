"""Linear attention with a fixed-size recurrent state."""

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.model.cache_spec import CacheSpec
from litgpt.domain.model.mixer_defaults import MixerDefaults
from litgpt.domain.model.mlp import Activation
from litgpt.domain.model.norm import NormSpec


@attrs.frozen(kw_only=True)
class GatedDeltaSpec(MixerDefaults):
    """Gated DeltaNet: each head keeps a key-by-value state that every token decays and updates.

    Queries, keys and values first pass through a short causal depthwise convolution.

    Source: Yang, Kautz & Hatamizadeh 2024, arXiv:2412.06464.

    Attributes:
        num_heads: Number of value heads; each has its own state.
        num_kv_heads: Number of query and key heads; divides `num_heads`.
        conv_kernel_size: Kernel size of the convolution, in tokens.
        activation: Activation after the convolution.
        norm: Normalizes each head's output before the output gate.
    """

    num_heads: int
    num_kv_heads: int
    k_head_dim: int
    v_head_dim: int
    conv_kernel_size: int
    activation: Activation
    norm: NormSpec

    __repr__ = brief_repr

    @property
    def rope(self) -> None:
        return None

    @property
    def split_sizes(self) -> tuple[int, int, int, int]:
        """Rows of queries, keys, values and gates in the joint projection, in that order."""
        keys, values = self.num_kv_heads * self.k_head_dim, self.num_heads * self.v_head_dim
        return (keys, keys, values, values)

    @property
    def conv_dim(self) -> int:
        return sum(self.split_sizes[:3])

    @property
    def cache_spec(self) -> CacheSpec:
        return CacheSpec(
            num_kv_heads=0,
            k_head_dim=0,
            v_head_dim=0,
            recurrent_state=self.num_heads * self.k_head_dim * self.v_head_dim,
            conv_state=self.conv_dim * (self.conv_kernel_size - 1),
        )

    @property
    def activations_per_token(self) -> int:
        return 4 * sum(self.split_sizes)
