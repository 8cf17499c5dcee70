"""Mamba: a selective state space with a decay for each channel and state."""

from collections.abc import Iterator

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.model.mixer import CacheSpec, MixerSpec
from litgpt.domain.model.mlp import Activation
from litgpt.domain.model.norm import NormSpec
from litgpt.domain.model.parameter_spec import ParameterSpec, linear, tensor


@attrs.frozen(kw_only=True)
class MambaSpec(MixerSpec):
    """Mamba: each channel keeps a vector of states, which decay by factors that depend on the input.

    Source: Gu & Dao 2023, arXiv:2312.00752.

    Attributes:
        inner_size: Number of channels.
        state_size: States per channel.
        time_step_rank: Rank of the projection of time steps.
        conv_kernel_size: Kernel size of the convolution, in tokens.
        activation: Activation after the convolution.
        norm: Normalizes the low-rank time steps, B and C (Jamba, Falcon Mamba); None: no norm.
        bias: Whether the input and output projections have a bias.
    """

    inner_size: int
    state_size: int
    time_step_rank: int
    conv_kernel_size: int
    activation: Activation
    norm: NormSpec | None = None
    conv_bias: bool = True
    bias: bool = False

    __repr__ = brief_repr

    @property
    def num_kv_heads(self) -> int:
        return 1

    @property
    def split_sizes(self) -> tuple[int, int, int]:
        """Rows of time steps, B and C in their joint projection, in that order."""
        return (self.time_step_rank, self.state_size, self.state_size)

    @property
    def cache_spec(self) -> CacheSpec:
        return CacheSpec(
            recurrent_shape=(self.inner_size, self.state_size),
            conv_shape=(self.inner_size, self.conv_kernel_size - 1),
        )

    @property
    def activations_per_token(self) -> int:
        # Training saves the states of all tokens.
        return self.inner_size * (2 * self.state_size + 8)

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        inner, rank = self.inner_size, self.time_step_rank
        for parameter in linear(f"{name}.in_proj", 2 * inner, hidden_size, bias=self.bias):
            yield attrs.evolve(parameter, split_sizes=(inner, inner))
        yield tensor(f"{name}.conv.weight", inner, 1, self.conv_kernel_size)
        if self.conv_bias:
            yield tensor(f"{name}.conv.bias", inner, role="bias")
        yield attrs.evolve(
            tensor(f"{name}.x_proj.weight", sum(self.split_sizes), inner), split_sizes=self.split_sizes
        )
        if self.norm is not None:
            for leaf, size in zip(("dt", "b", "c"), self.split_sizes, strict=True):
                yield from self.norm.parameters(f"{name}.{leaf}_norm", size)
        yield from linear(f"{name}.dt_proj", inner, rank, bias=True)
        yield tensor(f"{name}.A_log", inner, self.state_size, role="bias")
        yield tensor(f"{name}.D", inner, role="norm")
        yield from linear(f"{name}.out_proj", hidden_size, inner, bias=self.bias, role="output")
