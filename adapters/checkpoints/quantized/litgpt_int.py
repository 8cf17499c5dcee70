"""The saved form of this library's quantization: `litgpt-int8` and `litgpt-int4`.

A weight `x` is stored as `x.codes` and `x.scales`, and for 4 bits `x.zeros`. They have the layout of the
weight, but along the input dimension `scales` and `zeros` have one value per group, or one in total. 4-bit
codes are packed two per byte along the last dimension, the first in the low bits; a weight is
(code - 8) x scale + zero. An 8-bit weight is code x scale.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.quantized.quant_format import FLOATS, PackedWeight, Shape, StoredTensors
from litgpt.adapters.checkpoints.quantized.quantization_config import QuantizationConfig
from litgpt.domain.errors import CorruptFile

if TYPE_CHECKING:
    import torch

ZERO_CODE, MASK = 8, 15


@attrs.frozen
class LitGptInt:
    """8-bit with a scale per row, or 4-bit with a scale and a zero point per group."""

    bits: int
    group_size: int | None = None
    ignored: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        return f"quantized to {self.bits} bits (litgpt-int{self.bits})"

    @classmethod
    def read_int8(cls, settings: QuantizationConfig) -> "LitGptInt":  # noqa: ARG003 - the format has fixed settings
        return cls(8)

    @classmethod
    def read_int4(cls, settings: QuantizationConfig) -> "LitGptInt":
        return cls(4, settings.group_size("group_size", default=32))

    def packed_weights(self, stored: StoredTensors) -> dict[str, PackedWeight]:
        names = stored.prefixes_of(".codes")
        expected = stored.expected(names)
        return {name: self._weight(stored, name, expected.get(name)) for name in names}

    def _weight(self, stored: StoredTensors, name: str, shape: Shape | None) -> PackedWeight:
        roles = ("codes", "scales") if self.bits == 8 else ("codes", "scales", "zeros")
        parts = {role: f"{name}.{role}" for role in roles}
        for role, part in parts.items():
            kinds = FLOATS if role != "codes" else ("I8",) if self.bits == 8 else ("U8",)
            stored.require(part, *kinds, purpose=name)
        codes = stored.tensors[parts["codes"]].shape
        codes_per_byte = 1 if self.bits == 8 else 2
        shape = shape or (*codes[:-1], codes[-1] * codes_per_byte)  # a weight that the model does not use
        if len(shape) < 2:
            raise CorruptFile(
                stored.where, f"{name} is quantized, but has shape {[*shape]}; expected a matrix."
            )
        stored.check_shape(parts["codes"], (*shape[:-1], -(-shape[-1] // codes_per_byte)))
        allowed = [
            (*shape[:axis], -(-shape[axis] // (self.group_size or shape[axis])), *shape[axis + 1 :])
            for axis in (len(shape) - 1, len(shape) - 2)
        ]
        for role in roles[1:]:
            stored.check_shape(parts[role], *allowed)
        if self.bits == 4 and stored.tensors[parts["zeros"]].shape != stored.tensors[parts["scales"]].shape:
            reason = f"{parts['zeros']} and {parts['scales']} have different shapes."
            raise CorruptFile(stored.where, reason)
        return PackedWeight(shape, f"int{self.bits}", parts, partial(_unpack, packing=self, shape=shape))


def _unpack(
    parts: "Mapping[str, torch.Tensor]", dtype: "torch.dtype", *, packing: LitGptInt, shape: Shape
) -> "torch.Tensor":
    import torch

    codes, scales = parts["codes"], parts["scales"].float()
    if packing.bits == 4:
        codes = torch.stack((codes & MASK, codes >> 4), -1).flatten(-2)[..., : shape[-1]]
    values = codes.float()
    axis = next((dim for dim in (-1, -2) if scales.shape[dim] != shape[dim]), -1)

    def expand(per_group: "torch.Tensor") -> "torch.Tensor":
        if packing.group_size is None:
            return per_group
        group = torch.arange(shape[axis]) // packing.group_size
        return per_group.index_select(axis, group)

    if packing.bits == 4:
        values.sub_(ZERO_CODE).mul_(expand(scales)).add_(expand(parts["zeros"].float()))
    else:
        values.mul_(scales)
    return values.to(dtype)
