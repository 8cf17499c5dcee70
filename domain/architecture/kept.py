"""Size of a layer's cache."""

import attrs


@attrs.frozen(kw_only=True)
class Kept:
    """Cache size of one layer, in elements: KV cache entries per token, and the state of linear attention.

    Attributes:
        heads: Number of key-value heads.
        key: Key dimension.
        value: Value dimension.
        state: Elements of the recurrent state, in float32, per sequence.
        recent: Elements of the convolution state, per sequence.

    """

    heads: int
    key: int
    value: int
    state: int = 0
    recent: int = 0

    @property
    def numbers(self) -> int:
        """Elements added by each token."""
        return self.heads * (self.key + self.value)
