"""Kimi Delta Attention."""

from collections.abc import Iterator

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.model.mixer import CacheSpec, MixerSpec
from litgpt.domain.model.mlp import Activation
from litgpt.domain.model.norm import NormSpec
from litgpt.domain.model.parameter_spec import ParameterSpec, linear, tensor


@attrs.frozen(kw_only=True)
class KimiDeltaSpec(MixerSpec):
    """Kimi Delta Attention (KDA): the gated delta rule with a decay for each channel of the keys.

    Source: Kimi Team 2025, arXiv:2510.26692.

    Attributes:
        head_dim: Dimension of each head's queries, keys and values.
        conv_kernel_size: Kernel size of the convolution of queries, keys and values, in tokens.
        activation: Activation after the convolution.
        norm: Normalizes each head's output before the output gate.
        gate_rank: Rank of the projections of the decay and of the output gate; None projects directly.
        decay_lower_bound: Lower bound of the logarithm of the decay, which a sigmoid approaches; None: the
            logarithm is a softplus without a bound.
    """

    num_heads: int
    head_dim: int
    conv_kernel_size: int
    activation: Activation
    norm: NormSpec
    gate_rank: int | None = None
    decay_lower_bound: float | None = None

    __repr__ = brief_repr

    @property
    def num_kv_heads(self) -> int:
        return self.num_heads

    @property
    def split_sizes(self) -> tuple[int, int, int]:
        """Rows of queries, keys and values in the joint projection."""
        rows = self.num_heads * self.head_dim
        return (rows, rows, rows)

    @property
    def cache_spec(self) -> CacheSpec:
        return CacheSpec(
            recurrent_shape=(self.num_heads, self.head_dim, self.head_dim),
            conv_shape=(sum(self.split_sizes), self.conv_kernel_size - 1),
        )

    @property
    def activations_per_token(self) -> int:
        return 6 * sum(self.split_sizes)

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        rows, pieces = self.split_sizes[0], self.split_sizes
        yield ParameterSpec(f"{name}.qkv.weight", (sum(pieces), hidden_size), pieces)
        yield ParameterSpec(f"{name}.conv.weight", (sum(pieces), 1, self.conv_kernel_size), pieces)
        for gate in ("f", "g"):
            if self.gate_rank is None:
                yield from linear(f"{name}.{gate}_proj", rows, hidden_size)
            else:
                yield from linear(f"{name}.{gate}_a_proj", self.gate_rank, hidden_size)
                yield from linear(f"{name}.{gate}_b_proj", rows, self.gate_rank)
        beta = tensor(f"{name}.b_proj.weight", self.num_heads, hidden_size)
        yield attrs.evolve(beta, skip_quantization=True)
        yield tensor(f"{name}.dt_bias", rows, role="bias")
        yield tensor(f"{name}.A_log", self.num_heads, role="bias")
        yield from self.norm.parameters(f"{name}.norm", self.head_dim)
        yield from linear(f"{name}.proj", hidden_size, rows, role="output")
