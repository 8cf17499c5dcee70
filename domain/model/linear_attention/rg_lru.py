"""The recurrent block of Griffin."""

from collections.abc import Iterator

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.model.mixer import CacheSpec, MixerSpec
from litgpt.domain.model.mlp import Activation
from litgpt.domain.model.parameter_spec import ParameterSpec, linear, tensor


@attrs.frozen(kw_only=True)
class RGLRUSpec(MixerSpec):
    """A real-gated linear recurrent unit (RG-LRU) after a short convolution, with an output gate.

    Source: De et al. 2024, arXiv:2402.19427, section 2.

    Attributes:
        width: Number of channels, each with a state of one number.
        num_blocks: Number of blocks of channels within which the gates of the recurrence are computed.
        conv_kernel_size: Kernel size of the convolution, in tokens.
        activation: Activation of the output gate.
    """

    width: int
    num_blocks: int
    conv_kernel_size: int
    activation: Activation

    __repr__ = brief_repr

    @property
    def cache_spec(self) -> CacheSpec:
        """The state of each channel, and whether there was a token: the first one is not scaled."""
        return CacheSpec(
            recurrent_shape=(self.width + 1,), conv_shape=(self.width, self.conv_kernel_size - 1)
        )

    @property
    def activations_per_token(self) -> int:
        return 12 * self.width

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        width, blocks = self.width, self.num_blocks
        for leaf in ("linear_x", "linear_y"):
            yield from linear(f"{name}.{leaf}", width, hidden_size, bias=True)
        yield tensor(f"{name}.conv.weight", width, 1, self.conv_kernel_size)
        yield tensor(f"{name}.conv.bias", width, role="bias")
        for gate in ("input_gate", "recurrent_gate"):
            weight = tensor(f"{name}.{gate}_weight", blocks, width // blocks, width // blocks)
            yield attrs.evolve(weight, skip_quantization=True)
            yield tensor(f"{name}.{gate}_bias", blocks, width // blocks, role="bias")
        yield tensor(f"{name}.recurrent_param", width, role="bias")
        yield from linear(f"{name}.linear_out", hidden_size, width, bias=True, role="output")
