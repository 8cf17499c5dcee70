"""Linear attention with a fixed-size recurrent state."""

from collections.abc import Iterator
from typing import Self

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.model.mixer import CacheSpec, MixerSpec
from litgpt.domain.model.mlp import Activation
from litgpt.domain.model.norm import NormSpec
from litgpt.domain.model.parameter_spec import ParameterSpec, linear, tensor
from litgpt.domain.model.sharding import Sharding, Split, unsupported


@attrs.frozen(kw_only=True)
class GatedDeltaSpec(MixerSpec):
    """Gated DeltaNet: each head keeps a key-by-value state that every token decays and updates.

    Queries, keys and values first pass through a short causal depthwise convolution.

    Source: Yang, Kautz & Hatamizadeh 2024, arXiv:2412.06464.

    Attributes:
        num_heads: Number of value heads; each has its own state.
        num_kv_heads: Number of query and key heads; divides `num_heads`.
        conv_kernel_size: Kernel size of the convolution, in tokens.
        activation: Activation after the convolution.
        norm: Normalizes each head's output before the output gate.
        allow_neg_eigval: Whether the strength of an update is between 0 and 2 instead of 0 and 1, so that the
            transition of a state may have negative eigenvalues (Grazzi et al. 2024, arXiv:2411.12537).
    """

    num_heads: int
    num_kv_heads: int
    k_head_dim: int
    v_head_dim: int
    conv_kernel_size: int
    activation: Activation
    norm: NormSpec
    allow_neg_eigval: bool = False

    __repr__ = brief_repr

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
            recurrent_shape=(self.num_heads, self.k_head_dim, self.v_head_dim),
            conv_shape=(self.conv_dim, self.conv_kernel_size - 1),
        )

    @property
    def activations_per_token(self) -> int:
        return 4 * sum(self.split_sizes)

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        rows, groups, heads = self.split_sizes, self.num_kv_heads, self.num_heads
        keys, values = Split(groups, self.k_head_dim, replicated=True), self._value_heads
        one_each = attrs.evolve(values, size=1)
        scalars, channels = Sharding(0, (one_each,)), Sharding(0, (keys, keys, values))
        parts = Sharding(0, (keys, keys, values, values))
        yield ParameterSpec(
            f"{name}.qkvz.weight", (sum(rows), hidden_size), rows, num_groups=groups, sharding=parts
        )
        yield ParameterSpec(
            f"{name}.ba.weight",
            (2 * heads, hidden_size),
            (heads, heads),
            num_groups=groups,
            skip_quantization=True,
            sharding=Sharding(0, (one_each, one_each)),
        )
        yield ParameterSpec(
            f"{name}.conv.weight",
            (self.conv_dim, 1, self.conv_kernel_size),
            rows[:3],
            sharding=channels,
        )
        yield tensor(f"{name}.dt_bias", heads, role="bias", sharding=scalars)
        yield tensor(f"{name}.A_log", heads, role="bias", sharding=scalars)
        yield from self.norm.parameters(f"{name}.norm", self.v_head_dim)
        columns = Sharding(1, (values,))
        yield from linear(f"{name}.out_proj", hidden_size, rows[2], role="output", sharding=columns)

    def shard(self, world_size: int, rank: int) -> Self:
        """Return a rank's heads; with fewer groups than ranks, queries and keys are replicated."""
        heads, groups = self.num_heads, self.num_kv_heads
        if groups < world_size and (world_size % groups or heads % world_size):
            raise unsupported(world_size, f"{heads} heads in {groups} groups cannot be split evenly")
        first, last = self._value_heads.items(world_size, rank)
        low, high = Split(groups, replicated=True).items(world_size, rank)
        return attrs.evolve(self, num_heads=last - first, num_kv_heads=high - low)

    @property
    def _value_heads(self) -> Split:
        return Split(self.num_heads, self.v_head_dim, num_groups=self.num_kv_heads)
