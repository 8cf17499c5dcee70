"""The part of a layer that mixes tokens, attention or linear attention, and its cache."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from math import prod
from typing import Self

import attrs

from litgpt.domain.model.parameter_spec import ParameterSpec
from litgpt.domain.model.rope import AlibiSpec, AttentionTemperature, RopeSpec
from litgpt.domain.model.sharding import unsupported


@attrs.frozen(kw_only=True)
class CacheSpec:
    """Cache size of one layer: KV cache entries per token, and the state of other mixers per sequence.

    The recurrent state is in float32.
    """

    num_kv_heads: int = 0
    k_head_dim: int = 0
    v_head_dim: int = 0
    recurrent_shape: tuple[int, ...] = (0,)
    conv_shape: tuple[int, ...] = (0,)

    @property
    def numel_per_token(self) -> int:
        """Elements added by each token."""
        return self.num_kv_heads * (self.k_head_dim + self.v_head_dim)

    @property
    def recurrent_state(self) -> int:
        """Elements of the recurrent state."""
        return prod(self.recurrent_shape)

    @property
    def conv_state(self) -> int:
        """Elements of the convolution state."""
        return prod(self.conv_shape)

    @property
    def is_state(self) -> bool:
        """Whether the cache is a state of fixed size, which cannot be truncated to fewer tokens."""
        return bool(self.recurrent_state or self.conv_state)


class MixerSpec(ABC):
    """A mixer, with defaults for the features that only softmax attention has."""

    __slots__ = ()

    @property
    def num_kv_heads(self) -> int:
        return 0

    @property
    def rope(self) -> RopeSpec | None:
        return None

    @property
    def sliding_window(self) -> int | None:
        return None

    @property
    def chunked(self) -> bool:
        return False

    @property
    def attention_temperature(self) -> AttentionTemperature | None:
        return None

    @property
    def alibi(self) -> AlibiSpec | None:
        return None

    @property
    def kv_shared_layer(self) -> int | None:
        return None

    @property
    def indexer_layer(self) -> int | None:
        return None

    @abstractmethod
    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        """Yield the parameters of the module `name`, in model order."""

    @property
    @abstractmethod
    def cache_spec(self) -> CacheSpec: ...

    @property
    @abstractmethod
    def activations_per_token(self) -> int:
        """Approximate number of activation values alive at the same time, per token."""

    def score_bytes(self, tokens: int, length: int, dtype_bytes: int) -> int:
        """Return the bytes that training saves for attention scores; fused kernels save none.

        `tokens` is the total of all sequences of `length` tokens, `dtype_bytes` that of an element.
        """
        del tokens, length, dtype_bytes
        return 0

    def shard(self, world_size: int, rank: int) -> Self:
        """Return a rank's heads; raise UnsupportedOperation if they cannot be divided."""
        del rank
        if world_size > 1:
            raise unsupported(world_size, f"layers of type {type(self).__name__} cannot be split")
        return self
