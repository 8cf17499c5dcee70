"""MXFP4, as gpt-oss stores its experts (OCP Microscaling Formats 1.0).

`…_blocks` (experts, out, G, 16) has 32 inputs in 16 bytes, the first of each two in the low bits, and
`…_scales` (experts, out, G) an exponent for each block. A code is a float of a sign, two bits of exponent and
one of mantissa. The weight is (experts, in, out), as transformers has it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.quantized.e8m0 import e8m0_to_float32
from litgpt.adapters.checkpoints.quantized.quant_format import PackedWeight, StoredTensors
from litgpt.adapters.checkpoints.quantized.quantization_config import QuantizationConfig
from litgpt.domain.errors import CorruptFile

if TYPE_CHECKING:
    import torch

BYTES = 16
POSITIVE = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


@attrs.frozen
class Mxfp4:
    """MXFP4."""

    description: str = "quantized to MXFP4"
    ignored: tuple[str, ...] = ()

    @classmethod
    def read(cls, settings: QuantizationConfig) -> "Mxfp4":  # noqa: ARG003 - there are no settings to it
        """Return the packing."""
        return cls()

    def packed_weights(self, stored: StoredTensors) -> dict[str, PackedWeight]:
        """Return the packed weights: (experts, in, out) each."""
        return {name: _weight(stored, name) for name in stored.prefixes_of("_blocks", "_scales")}


def _weight(stored: StoredTensors, name: str) -> PackedWeight:
    parts = {"blocks": f"{name}_blocks", "scales": f"{name}_scales"}
    for part in parts.values():
        stored.require(part, "U8", purpose=name)
    shape = stored.tensors[parts["blocks"]].shape
    if len(shape) != 4 or shape[-1] != BYTES:
        raise CorruptFile(
            stored.where,
            f"{parts['blocks']} has the shape {[*shape]}, and should have blocks of {BYTES} bytes.",
        )
    stored.check_shape(parts["scales"], shape[:-1])
    experts, outputs, groups, _ = shape
    return PackedWeight((experts, 2 * BYTES * groups, outputs), "MXFP4", parts, _unpack)


def _unpack(parts: "Mapping[str, torch.Tensor]", dtype: "torch.dtype") -> "torch.Tensor":
    import torch

    numbers = torch.tensor((*POSITIVE, *(-one for one in POSITIVE)))
    # Both numbers of a byte are looked up at once.
    codes = torch.arange(256)
    pairs = torch.stack((numbers[codes & 15], numbers[codes >> 4]), dim=1)
    experts, outputs, groups, _ = parts["blocks"].shape
    weight = torch.empty((experts, 2 * BYTES * groups, outputs), dtype=dtype)
    # One expert after another, for all of them in float32 are large.
    for expert, blocks, scales in zip(weight, parts["blocks"], parts["scales"], strict=True):
        found = pairs[blocks.int()].flatten(-2)
        expert.copy_(found.mul_(e8m0_to_float32(scales).unsqueeze(-1)).flatten(1).t())
    return weight
