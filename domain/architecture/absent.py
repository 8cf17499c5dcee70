"""Attributes that only softmax attention sets."""


class NothingBesides:
    """Defaults for mixers without sliding windows, KV sharing, ALiBi or attention temperature."""

    __slots__ = ()

    @property
    def window(self) -> None:
        return None

    @property
    def chunked(self) -> bool:
        return False

    @property
    def query_scaling(self) -> None:
        return None

    @property
    def alibi(self) -> None:
        return None

    @property
    def lender(self) -> None:
        return None
