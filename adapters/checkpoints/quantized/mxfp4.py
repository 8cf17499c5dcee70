"""MXFP4, the format of gpt-oss's experts (OCP Microscaling Formats 1.0).

`…_blocks` (experts, out, G, 16) packs 32 inputs into 16 bytes, the first of each pair in the low bits, and
`…_scales` (experts, out, G) has an exponent per block. A code has a sign bit, two exponent bits and a
mantissa bit. The weight is (experts, in, out), as in transformers.
"""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.quantized.e8m0 import e8m0_to_float32
from litgpt.adapters.checkpoints.quantized.quant_format import PackedWeight, StoredTensors
from litgpt.adapters.checkpoints.quantized.quantization_config import QuantizationConfig
from litgpt.domain.errors import CorruptFile
from litgpt.domain.weights.raw_tensor import RawRows, RawTensor

if TYPE_CHECKING:
    import torch

BYTES = 16
POSITIVE = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


@attrs.frozen
class Mxfp4:
    """The MXFP4 format."""

    description: str = "quantized to MXFP4"
    ignored: tuple[str, ...] = ()

    @classmethod
    def read(cls, settings: QuantizationConfig) -> "Mxfp4":  # noqa: ARG003 - the format is fixed
        return cls()

    def packed_weights(self, stored: StoredTensors) -> dict[str, PackedWeight]:
        return {name: _weight(stored, name) for name in stored.prefixes_of("_blocks", "_scales")}


def _weight(stored: StoredTensors, name: str) -> PackedWeight:
    parts = {"blocks": f"{name}_blocks", "scales": f"{name}_scales"}
    for part in parts.values():
        stored.require(part, "U8", purpose=name)
    shape = stored.tensors[parts["blocks"]].shape
    if len(shape) != 4 or shape[-1] != BYTES:
        raise CorruptFile(
            stored.where,
            f"{parts['blocks']} has shape {[*shape]}, expected blocks of {BYTES} bytes.",
        )
    stored.check_shape(parts["scales"], shape[:-1])
    experts, outputs, groups, _ = shape
    return PackedWeight((experts, 2 * BYTES * groups, outputs), "MXFP4", parts, _unpack, _blocks)


def _unpack(parts: "Mapping[str, torch.Tensor]", dtype: "torch.dtype") -> "torch.Tensor":
    import torch

    values = torch.tensor((*POSITIVE, *(-value for value in POSITIVE)))
    # The table maps a byte to both of its values.
    codes = torch.arange(256)
    pairs = torch.stack((values[codes & 15], values[codes >> 4]), dim=1)
    experts, outputs, groups, _ = parts["blocks"].shape
    weight = torch.empty((experts, 2 * BYTES * groups, outputs), dtype=dtype)
    # Each expert is dequantized separately, because all of them in float32 are large.
    for expert, blocks, scales in zip(weight, parts["blocks"], parts["scales"], strict=True):
        unscaled = pairs[blocks.int()].flatten(-2)
        expert.copy_(unscaled.mul_(e8m0_to_float32(scales).unsqueeze(-1)).flatten(1).t())
    return weight


def _blocks(parts: "Mapping[str, torch.Tensor]") -> RawTensor | None:
    experts, outputs, groups, _ = parts["blocks"].shape

    @cache
    def read() -> memoryview:
        import torch

        rows = torch.empty((experts, outputs, groups, 1 + BYTES), dtype=torch.uint8)
        rows[..., 0] = parts["scales"]
        # GGUF has code i in the low bits of byte i, and code 16 + i in its high bits.
        for expert, blocks in zip(rows, parts["blocks"], strict=True):
            codes = torch.stack((blocks & 15, blocks >> 4), -1).flatten(-2)
            expert[..., 1:] = codes[..., :BYTES] | codes[..., BYTES:] << 4
        return rows.numpy().data.toreadonly()

    stored = RawRows("MXFP4", read, range(experts * outputs))
    return RawTensor((experts, 2 * BYTES * groups, outputs), (stored,), transposed=True)
