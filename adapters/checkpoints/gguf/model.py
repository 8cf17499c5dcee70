"""A GGUF model according to its headers: architecture, metadata and tensors."""

import math
from collections.abc import Mapping

import attrs

from litgpt.adapters.checkpoints.gguf.reader.header import GgufTensor
from litgpt.adapters.checkpoints.gguf.reader.header_reader import BOOL, STRING, HeaderArray
from litgpt.adapters.checkpoints.gguf.reader.metadata import GgufMetadata


@attrs.frozen
class GgufModel:
    """The metadata and tensors of a GGUF model, by GGUF names; `architecture` is the prefix of most keys."""

    architecture: str
    metadata: GgufMetadata
    tensors: Mapping[str, GgufTensor] = attrs.field(repr=False)

    def key(self, name: str) -> str:
        return f"{self.architecture}.{name}"

    def integer(self, name: str) -> int | None:
        return self.metadata.integer(self.key(name))

    def per_layer_integers(self, name: str) -> tuple[int, ...]:
        """Return an integer per layer, from a single value or a list; MTP layers are excluded."""
        key, layers = self.key(name), self.num_layers or 0
        value = self.metadata.values.get(key)
        if isinstance(value, HeaderArray) and value.kind not in (STRING, BOOL):
            listed = tuple(int(number) for number in value.numbers())
            if len(listed) < layers or min(listed, default=0) < 0:
                raise self.metadata.invalid(key, f"a list of {layers} non-negative integers")
            return listed[:layers]
        if (number := self.metadata.integer(key)) is None:
            raise self.metadata.missing(key)
        return (number,) * layers

    def number(self, name: str) -> float | None:
        return self.metadata.number(self.key(name))

    @property
    def num_layers(self) -> int | None:
        """The number of layers without multi-token prediction (MTP) layers."""
        count, mtp_layers = self.integer("block_count"), self.integer("nextn_predict_layers") or 0
        return None if count is None else max(0, count - mtp_layers)

    def is_mtp_layer(self, layer: str | None) -> bool:
        mtp_layers, count = self.integer("nextn_predict_layers"), self.num_layers
        return bool(mtp_layers) and layer is not None and count is not None and int(layer) >= count

    @property
    def num_heads(self) -> int:
        return self._positive("attention.head_count")

    @property
    def num_kv_heads(self) -> int:
        return self.integer("attention.head_count_kv") or self.num_heads

    @property
    def head_dim(self) -> int:
        return self.integer("attention.key_length") or max(
            1, self._positive("embedding_length") // self.num_heads
        )

    @property
    def rotary_dim(self) -> int:
        return self.integer("rope.dimension_count") or self.head_dim

    @property
    def partial_rotary_factor(self) -> float:
        """The rotated share of a head, such that `int(head_dim * factor)` is `rotary_dim`."""
        share = self.rotary_dim / self.head_dim
        return share if int(self.head_dim * share) == self.rotary_dim else math.nextafter(share, math.inf)

    def _positive(self, name: str) -> int:
        value = self.integer(name)
        if value is None:
            raise self.metadata.missing(self.key(name))
        if value < 1:
            raise self.metadata.invalid(self.key(name), "a positive integer")
        return value
