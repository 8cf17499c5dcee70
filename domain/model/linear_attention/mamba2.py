"""Selective state spaces: mixers with a recurrent state that decays by an input-dependent factor."""

import math
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
class Mamba2Spec(MixerSpec):
    """Mamba-2: each head keeps a state-by-value matrix, which decays by one factor per token.

    The values, and the vectors B and C that write to the state and read it, first pass through a short causal
    depthwise convolution.

    Source: Dao & Gu 2024, arXiv:2405.21060.

    Attributes:
        num_heads: Number of heads; each has its own decay.
        num_groups: Number of groups of heads that share B and C; divides `num_heads`.
        head_dim: Values per head.
        state_size: Size of B and C.
        conv_kernel_size: Kernel size of the convolution, in tokens.
        activation: Activation after the convolution.
        norm: Normalizes the output of each group together, with separate weights; None: no norm.
        norm_before_gate: Whether the norm is applied before the output gate instead of after it.
        time_step_limit: Range to which time steps are clamped.
        part_scales: Factors of the projected gates, values, B, C and time steps (Falcon-H1).
    """

    num_heads: int
    num_groups: int
    head_dim: int
    state_size: int
    conv_kernel_size: int
    activation: Activation
    norm: NormSpec | None
    norm_before_gate: bool = False
    conv_bias: bool = True
    input_bias: bool = False
    output_bias: bool = False
    time_step_limit: tuple[float, float] = (0.0, math.inf)
    part_scales: tuple[float, ...] | None = None

    __repr__ = brief_repr

    @property
    def num_kv_heads(self) -> int:
        return self.num_groups

    @property
    def split_sizes(self) -> tuple[int, int, int, int, int]:
        """Rows of gates, values, B, C and time steps in the joint projection, in that order."""
        inner, shared = self.num_heads * self.head_dim, self.num_groups * self.state_size
        return (inner, inner, shared, shared, self.num_heads)

    @property
    def conv_dim(self) -> int:
        return sum(self.split_sizes[1:4])

    @property
    def cache_spec(self) -> CacheSpec:
        per_group = self.num_heads // self.num_groups * self.head_dim
        return CacheSpec(
            recurrent_shape=(self.num_groups, self.state_size, per_group),
            conv_shape=(self.conv_dim, self.conv_kernel_size - 1),
        )

    @property
    def activations_per_token(self) -> int:
        return 4 * sum(self.split_sizes)

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        rows, heads = self.split_sizes, self.num_heads
        by_head, by_group = self._heads, Split(self.num_groups, self.state_size, replicated=True)
        one_each = attrs.evolve(by_head, size=1)
        convolved = (by_head, by_group, by_group)
        parts, channels = Sharding(0, (by_head, *convolved, one_each)), Sharding(0, convolved)
        scalars, columns = Sharding(0, (one_each,)), Sharding(1, (by_head,))
        projection = linear(f"{name}.in_proj", sum(rows), hidden_size, bias=self.input_bias, sharding=parts)
        for parameter in projection:
            yield attrs.evolve(parameter, split_sizes=rows)
        yield tensor(f"{name}.conv.weight", self.conv_dim, 1, self.conv_kernel_size, sharding=channels)
        if self.conv_bias:
            yield tensor(f"{name}.conv.bias", self.conv_dim, role="bias", sharding=channels)
        yield tensor(f"{name}.dt_bias", heads, role="bias", sharding=scalars)
        yield tensor(f"{name}.A_log", heads, role="bias", sharding=scalars)
        yield tensor(f"{name}.D", heads, role="norm", sharding=scalars)
        if self.norm is not None:
            yield from self.norm.parameters(f"{name}.norm", rows[0], sharding=Sharding(0, (by_head,)))
        bias = self.output_bias
        yield from linear(
            f"{name}.out_proj", hidden_size, rows[0], bias=bias, role="output", sharding=columns
        )

    def shard(self, world_size: int, rank: int) -> Self:
        """Return a rank's heads.

        With at least as many groups as ranks, groups are not split. Otherwise, each rank has some heads of
        one group, whose B and C are replicated; a norm over heads of several ranks needs a single group.
        """
        heads, groups = self.num_heads, self.num_groups
        if groups < world_size:
            if world_size % groups or heads % world_size:
                raise unsupported(world_size, f"{heads} heads in {groups} groups cannot be split evenly")
            if self.norm is not None and groups > 1:
                raise unsupported(world_size, f"the norms of {groups} groups of heads cannot be split")
        first, last = self._heads.items(world_size, rank)
        low, high = Split(groups, replicated=True).items(world_size, rank)
        return attrs.evolve(self, num_heads=last - first, num_groups=high - low)

    @property
    def _heads(self) -> Split:
        return Split(self.num_heads, self.head_dim, num_groups=self.num_groups)
