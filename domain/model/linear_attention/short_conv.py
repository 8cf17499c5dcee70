"""Gated short convolutions."""

from collections.abc import Iterator
from typing import Self

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.model.mixer import CacheSpec, MixerSpec
from litgpt.domain.model.parameter_spec import ParameterSpec, linear, tensor
from litgpt.domain.model.sharding import Sharding, Split, even_range


@attrs.frozen(kw_only=True)
class ShortConvSpec(MixerSpec):
    """A causal depthwise convolution over the last few tokens between two multiplicative gates.

    Source: Liquid AI 2025, "LFM2 Technical Report", arXiv:2511.23404.

    Attributes:
        channels: Number of channels; the hidden size in a whole model.
        kernel_size: Kernel size of the convolution, in tokens.
        bias: Whether the projections and the convolution have biases.
    """

    channels: int
    kernel_size: int
    bias: bool = False

    __repr__ = brief_repr

    @property
    def cache_spec(self) -> CacheSpec:
        return CacheSpec(conv_shape=(self.channels, self.kernel_size - 1))

    @property
    def activations_per_token(self) -> int:
        return 6 * self.channels

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        size, bias, split = self.channels, self.bias, Split(self.channels)
        rows, columns = Sharding(0, (split,)), Sharding(1, (split,))
        # The input gate, the output gate and the values.
        yield from linear(
            f"{name}.in_proj", 3 * size, hidden_size, bias=bias, sharding=Sharding(0, (split,) * 3)
        )
        yield tensor(f"{name}.conv.weight", size, 1, self.kernel_size, sharding=rows)
        if bias:
            yield tensor(f"{name}.conv.bias", size, role="bias", sharding=rows)
        yield from linear(f"{name}.out_proj", hidden_size, size, bias=bias, role="output", sharding=columns)

    def shard(self, world_size: int, rank: int) -> Self:
        """Return a rank's channels."""
        first, last = even_range(self.channels, world_size, rank)
        return attrs.evolve(self, channels=last - first)
