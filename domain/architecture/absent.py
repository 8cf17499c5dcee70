"""What only softmax attention over plain heads has."""


class NothingBesides:
    """A mixer without windows, borrowed keys, and scores that are changed by distance."""

    __slots__ = ()

    @property
    def window(self) -> None:
        """All layers see everything."""

    @property
    def chunked(self) -> bool:
        """There are no windows."""
        return False

    @property
    def query_scaling(self) -> None:
        """Queries do not grow."""

    @property
    def alibi(self) -> None:
        """Scores do not fall."""

    @property
    def lender(self) -> None:
        """Nothing is borrowed."""
