"""A GGUF model as its headers give it: one architecture, its metadata, its tensors."""

import math
from collections.abc import Mapping

import attrs

from litgpt.adapters.checkpoints.gguf.reader.header import GgufTensor
from litgpt.adapters.checkpoints.gguf.reader.header_reader import BOOL, STRING, HeaderArray
from litgpt.adapters.checkpoints.gguf.reader.metadata import GgufMetadata


@attrs.frozen
class GgufModel:
    """What is to be translated.

    Attributes:
        architecture: What GGUF calls its architecture; most keys begin with it.
        metadata: All its keys.
        tensors: Its tensors, by GGUF's names.

    """

    architecture: str
    metadata: GgufMetadata
    tensors: Mapping[str, GgufTensor] = attrs.field(repr=False)

    def key(self, name: str) -> str:
        """Return the whole of a key that belongs to the architecture."""
        return f"{self.architecture}.{name}"

    def integer(self, name: str) -> int | None:
        """Return an integer from the keys of the architecture."""
        return self.metadata.integer(self.key(name))

    def per_layer_integers(self, name: str) -> tuple[int, ...]:
        """Return an integer for each layer that is run: it may be said once for all, or in a list.

        Raises:
            CorruptFile: It is not said, or not of each layer.

        """
        key, layers = self.key(name), self.num_layers or 0
        value = self.metadata.values.get(key)
        if isinstance(value, HeaderArray) and value.kind not in (STRING, BOOL):
            listed = tuple(int(one) for one in value.numbers())
            if len(listed) < layers or min(listed, default=0) < 0:
                raise self.metadata.invalid(key, f"a list of {layers} non-negative integers")
            return listed[:layers]
        if (number := self.metadata.integer(key)) is None:
            raise self.metadata.missing(key)
        return (number,) * layers

    def number(self, name: str) -> float | None:
        """Return a number from the keys of the architecture."""
        return self.metadata.number(self.key(name))

    @property
    def num_layers(self) -> int | None:
        """How many layers are run: not those that are there to guess further tokens ahead."""
        count, ahead = self.integer("block_count"), self.integer("nextn_predict_layers") or 0
        return None if count is None else max(0, count - ahead)

    def is_mtp_layer(self, layer: str | None) -> bool:
        """Whether a layer is one of those that are there to guess ahead."""
        ahead, count = self.integer("nextn_predict_layers"), self.num_layers
        return bool(ahead) and layer is not None and count is not None and int(layer) >= count

    @property
    def num_heads(self) -> int:
        """How many query heads there are.

        Raises:
            CorruptFile: It does not say.

        """
        return self._positive("attention.head_count")

    @property
    def num_kv_heads(self) -> int:
        """How many key-value heads there are."""
        return self.integer("attention.head_count_kv") or self.num_heads

    @property
    def head_dim(self) -> int:
        """How many numbers a head has.

        Raises:
            CorruptFile: It does not say.

        """
        return self.integer("attention.key_length") or max(
            1, self._positive("embedding_length") // self.num_heads
        )

    @property
    def rotary_dim(self) -> int:
        """How many of a head's numbers are rotated."""
        return self.integer("rope.dimension_count") or self.head_dim

    @property
    def partial_rotary_factor(self) -> float:
        """That as a share of the head, which gives it back when it is multiplied and rounded down."""
        share = self.rotary_dim / self.head_dim
        return share if int(self.head_dim * share) == self.rotary_dim else math.nextafter(share, math.inf)

    def _positive(self, name: str) -> int:
        value = self.integer(name)
        if value is None:
            raise self.metadata.missing(self.key(name))
        if value < 1:
            raise self.metadata.invalid(self.key(name), "a positive integer")
        return value
