"""AWQ, as packed by AutoAWQ's version "gemm" (Lin et al. 2023, arXiv:2306.00978).

`qweight` (in, out / 8) packs eight outputs into a word, from the lowest four bits in the order 0, 2, 4, 6, 1,
3, 5, 7. `qzeros` (groups, out / 8) is packed in the same way, and `scales` has shape (groups, out). A weight
is (code - zero) x scale.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.quantized import affine
from litgpt.adapters.checkpoints.quantized.bit_packing import row_chunks, unpack_words
from litgpt.adapters.checkpoints.quantized.quant_format import FLOATS, PackedWeight, StoredTensors
from litgpt.adapters.checkpoints.quantized.quantization_config import QuantizationConfig
from litgpt.domain.errors import CorruptFile
from litgpt.domain.weights.raw_tensor import RawTensor

if TYPE_CHECKING:
    import torch

BITS = 4
PER_WORD = 8
# The nibble of each output in a word, counted from the lowest bits.
NIBBLE_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)


@attrs.frozen
class Awq:
    """The 4-bit AWQ format; `group_size` inputs share a scale, None means all."""

    group_size: int | None
    description: str = "quantized by AWQ to 4 bits"
    ignored: tuple[str, ...] = ()

    @classmethod
    def read(cls, settings: QuantizationConfig) -> "Awq":
        settings.require_one_of("bits", BITS)
        settings.layout(("version", "format"), "gemm")
        if settings.values.get("backend") == "llm-awq":  # a different packing
            settings.raise_unsupported("backend", "llm-awq")
        settings.require_one_of("zero_point", True)
        return cls(settings.group_size("group_size", default=128))

    def packed_weights(self, stored: StoredTensors) -> dict[str, PackedWeight]:
        layers = stored.prefixes_of(".qweight", ".qzeros")
        return {f"{layer}.weight": self._weight(stored, layer) for layer in layers}

    def _weight(self, stored: StoredTensors, layer: str) -> PackedWeight:
        parts = {role: f"{layer}.{role}" for role in ("qweight", "qzeros", "scales")}
        for role, name in parts.items():
            stored.require(name, *(FLOATS if role == "scales" else ("I32",)), purpose=f"{layer}.weight")
        inputs, words = stored.matrix(parts["qweight"])
        size = self.group_size or inputs
        if inputs % size:
            raise CorruptFile(
                stored.where,
                f"{parts['qweight']} has {inputs} rows, not a multiple of the group size {size}.",
            )
        stored.check_shape(parts["qzeros"], (inputs // size, words))
        stored.check_shape(parts["scales"], (inputs // size, words * PER_WORD))
        return PackedWeight((words * PER_WORD, inputs), "AWQ 4-bit", parts, _unpack, _blocks)


def _unpack(parts: "Mapping[str, torch.Tensor]", dtype: "torch.dtype") -> "torch.Tensor":
    return affine.dequantize(_shape(parts), _coded_rows(parts), dtype)


def _blocks(parts: "Mapping[str, torch.Tensor]") -> RawTensor | None:
    return affine.as_blocks(_shape(parts), parts["scales"], lambda: _coded_rows(parts), bits=BITS)


def _shape(parts: "Mapping[str, torch.Tensor]") -> tuple[int, int]:
    inputs, words = parts["qweight"].shape
    return words * PER_WORD, inputs


def _coded_rows(parts: "Mapping[str, torch.Tensor]") -> Iterator[affine.CodedRows]:
    inputs, words = parts["qweight"].shape
    for chunk in row_chunks(words, inputs * PER_WORD):
        rows = slice(chunk.start * PER_WORD, chunk.stop * PER_WORD)
        codes, zeros = _codes(parts["qweight"][:, chunk]).t(), _codes(parts["qzeros"][:, chunk]).t()
        yield affine.CodedRows(rows, codes, zeros, parts["scales"][:, rows].t())


def _codes(words: "torch.Tensor") -> "torch.Tensor":
    codes: torch.Tensor = (
        unpack_words(words, BITS).unflatten(-1, (-1, PER_WORD))[..., NIBBLE_ORDER].flatten(-2)
    )
    return codes
