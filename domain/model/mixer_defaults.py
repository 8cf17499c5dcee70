"""Attributes that only softmax attention sets."""


class MixerDefaults:
    """Defaults for mixers without sliding windows, KV sharing, ALiBi or attention temperature."""

    __slots__ = ()

    @property
    def sliding_window(self) -> None:
        return None

    @property
    def chunked(self) -> bool:
        return False

    @property
    def attention_temperature(self) -> None:
        return None

    @property
    def alibi(self) -> None:
        return None

    @property
    def kv_shared_layer(self) -> None:
        return None
