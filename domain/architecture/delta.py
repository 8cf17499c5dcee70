"""Linear attention, whose memory of a text does not grow with it."""

import attrs

from litgpt.domain.architecture.absent import NothingBesides
from litgpt.domain.architecture.feedforward import Activation
from litgpt.domain.architecture.kept import Kept
from litgpt.domain.architecture.norms import Norm
from litgpt.domain.messages import brief_repr


@attrs.frozen(kw_only=True)
class GatedDelta(NothingBesides):
    """The gated delta rule: a table of values by keys for each head, which each token fades and corrects.

    A token's query, key and value first pass a short causal convolution over their channels.
    Source: Yang, Kautz & Hatamizadeh 2024, arXiv:2412.06464.

    Attributes:
        heads: Heads of values; each has a table.
        groups: Heads of queries and keys; divides `heads`.
        key_size: Numbers in a query or a key.
        value_size: Numbers in a value.
        kernel: How many tokens the convolution sees, the token itself included.
        activation: What bends after it.
        norm: Of what a head reads, before it is gated.

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
        """Positions do not enter by rotation."""

    @property
    def rows(self) -> tuple[int, int, int, int]:
        """The rows of queries, keys, values and gates in the joined projection, in that order."""
        keys, values = self.groups * self.key_size, self.heads * self.value_size
        return (keys, keys, values, values)

    @property
    def channels(self) -> int:
        """How many numbers of a token pass the convolution."""
        return sum(self.rows[:3])

    @property
    def kept(self) -> Kept:
        """What a cache keeps: the tables, and what the convolution will still see."""
        return Kept(
            heads=0,
            key=0,
            value=0,
            state=self.heads * self.key_size * self.value_size,
            recent=self.channels * (self.kernel - 1),
        )

    @property
    def numbers_per_token(self) -> int:
        """How many numbers are alive at once for each token, about."""
        return 4 * sum(self.rows)
