"""A GGUF model as its headers give it: one architecture, its metadata, its tensors."""

import math
from collections.abc import Mapping

import attrs

from litgpt.adapters.checkpoints.gguf.cursor import BOOL, STRING, Array
from litgpt.adapters.checkpoints.gguf.header import StoredTensor
from litgpt.adapters.checkpoints.gguf.metadata import Metadata


@attrs.frozen
class Source:
    """What is to be translated.

    Attributes:
        architecture: What GGUF calls its architecture; most keys begin with it.
        metadata: All its keys.
        tensors: Its tensors, by GGUF's names.

    """

    architecture: str
    metadata: Metadata
    tensors: Mapping[str, StoredTensor] = attrs.field(repr=False)

    def key(self, name: str) -> str:
        """Return the whole of a key that belongs to the architecture."""
        return f"{self.architecture}.{name}"

    def integer(self, name: str) -> int | None:
        """Return an integer from the keys of the architecture."""
        return self.metadata.integer(self.key(name))

    def by_layer(self, name: str) -> tuple[int, ...]:
        """Return an integer for each layer that is run: it may be said once for all, or in a list.

        Raises:
            DamagedFile: It is not said, or not of each layer.

        """
        key, layers = self.key(name), self.layers or 0
        value = self.metadata.values.get(key)
        if isinstance(value, Array) and value.kind not in (STRING, BOOL):
            listed = tuple(int(one) for one in value.numbers())
            if len(listed) < layers or min(listed, default=0) < 0:
                raise self.metadata.wrong(key, f"a list of {layers} non-negative integers")
            return listed[:layers]
        if (number := self.metadata.integer(key)) is None:
            raise self.metadata.missing(key)
        return (number,) * layers

    def number(self, name: str) -> float | None:
        """Return a number from the keys of the architecture."""
        return self.metadata.number(self.key(name))

    @property
    def layers(self) -> int | None:
        """How many layers are run: not those that are there to guess further tokens ahead."""
        count, ahead = self.integer("block_count"), self.integer("nextn_predict_layers") or 0
        return None if count is None else max(0, count - ahead)

    def is_beyond(self, layer: str | None) -> bool:
        """Whether a layer is one of those that are there to guess ahead."""
        ahead, count = self.integer("nextn_predict_layers"), self.layers
        return bool(ahead) and layer is not None and count is not None and int(layer) >= count

    @property
    def heads(self) -> int:
        """How many query heads there are.

        Raises:
            DamagedFile: It does not say.

        """
        return self._at_least_one("attention.head_count")

    @property
    def groups(self) -> int:
        """How many key-value heads there are."""
        return self.integer("attention.head_count_kv") or self.heads

    @property
    def head_size(self) -> int:
        """How many numbers a head has.

        Raises:
            DamagedFile: It does not say.

        """
        return self.integer("attention.key_length") or max(
            1, self._at_least_one("embedding_length") // self.heads
        )

    @property
    def rotated(self) -> int:
        """How many of a head's numbers are rotated."""
        return self.integer("rope.dimension_count") or self.head_size

    @property
    def rotated_share(self) -> float:
        """That as a share of the head, which gives it back when it is multiplied and rounded down."""
        share = self.rotated / self.head_size
        return share if int(self.head_size * share) == self.rotated else math.nextafter(share, math.inf)

    def _at_least_one(self, name: str) -> int:
        value = self.integer(name)
        if value is None:
            raise self.metadata.missing(self.key(name))
        if value < 1:
            raise self.metadata.wrong(self.key(name), "a positive integer")
        return value
