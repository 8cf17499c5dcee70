"""Linear attention with a fixed-size recurrent state."""

import attrs

from litgpt.domain.architecture.absent import NothingBesides
from litgpt.domain.architecture.feedforward import Activation
from litgpt.domain.architecture.kept import Kept
from litgpt.domain.architecture.norms import Norm
from litgpt.domain.messages import brief_repr


@attrs.frozen(kw_only=True)
class GatedDelta(NothingBesides):
    """Gated DeltaNet: each head keeps a key-by-value state that every token decays and updates.

    Queries, keys and values first pass through a short causal depthwise convolution.
    Source: Yang, Kautz & Hatamizadeh 2024, arXiv:2412.06464.

    Attributes:
        heads: Number of value heads; each has its own state.
        groups: Number of query and key heads; divides `heads`.
        key_size: Dimension of a query or key.
        value_size: Dimension of a value.
        kernel: Kernel size of the convolution, in tokens.
        activation: Activation after the convolution.
        norm: Normalizes each head's output before the output gate.

    """

    heads: int
    groups: int
    key_size: int
    value_size: int
    kernel: int
    activation: Activation
    norm: Norm

    __repr__ = brief_repr

    @property
    def rotary(self) -> None:
        return None

    @property
    def rows(self) -> tuple[int, int, int, int]:
        """Rows of queries, keys, values and gates in the joint projection, in that order."""
        keys, values = self.groups * self.key_size, self.heads * self.value_size
        return (keys, keys, values, values)

    @property
    def channels(self) -> int:
        return sum(self.rows[:3])

    @property
    def kept(self) -> Kept:
        return Kept(
            heads=0,
            key=0,
            value=0,
            state=self.heads * self.key_size * self.value_size,
            recent=self.channels * (self.kernel - 1),
        )

    @property
    def numbers_per_token(self) -> int:
        return 4 * sum(self.rows)
