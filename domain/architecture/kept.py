"""What a layer remembers of a text."""

import attrs


@attrs.frozen(kw_only=True)
class Kept:
    """What a cache keeps in one layer: of each token, and of the text as a whole.

    Attributes:
        heads: How many heads' keys and values.
        key: Numbers in a key.
        value: Numbers in a value.
        state: Numbers, in float32, that stand for the whole text however long it is.
        recent: Numbers of the last few tokens besides.

    """

    heads: int
    key: int
    value: int
    state: int = 0
    recent: int = 0

    @property
    def numbers(self) -> int:
        """How many numbers each token adds."""
        return self.heads * (self.key + self.value)
