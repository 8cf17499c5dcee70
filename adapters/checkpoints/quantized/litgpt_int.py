"""Our own ways, as they are saved: `litgpt-int8` and `litgpt-int4`.

A weight `x` is `x.codes` and `x.scales`, and in four bits `x.zeros`. They lie as the weight does, but where
that has inputs, `scales` and `zeros` have one number for each group of them, or for all. In four bits there
are two codes in a byte along the last dimension, the first in the low bits, and a weight is
(code - 8) x scale + zero; in eight bits it is code x scale.
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
    """Eight bits with a scale for each row, or four with a scale and a zero for each group of one."""

    bits: int
    group_size: int | None = None
    ignored: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """How it is told."""
        return f"quantized by this library to {self.bits} bits"

    @classmethod
    def read_int8(cls, settings: QuantizationConfig) -> "LitGptInt":  # noqa: ARG003 - there are none
        """Return the packing in eight bits."""
        return cls(8)

    @classmethod
    def read_int4(cls, settings: QuantizationConfig) -> "LitGptInt":
        """Return the packing in four bits."""
        return cls(4, settings.group_size("group_size", default=32))

    def packed_weights(self, stored: StoredTensors) -> dict[str, PackedWeight]:
        """Return the packed weights, of the shapes that the model wants."""
        found = stored.prefixes_of(".codes")
        expected = stored.expected(found)
        return {name: self._weight(stored, name, expected.get(name)) for name in found}

    def _weight(self, stored: StoredTensors, name: str, shape: Shape | None) -> PackedWeight:
        roles = ("codes", "scales") if self.bits == 8 else ("codes", "scales", "zeros")
        parts = {role: f"{name}.{role}" for role in roles}
        for role, part in parts.items():
            kinds = FLOATS if role != "codes" else ("I8",) if self.bits == 8 else ("U8",)
            stored.require(part, *kinds, purpose=name)
        codes = stored.tensors[parts["codes"]].shape
        pair = 1 if self.bits == 8 else 2
        shape = shape or (*codes[:-1], codes[-1] * pair)  # of what the plan will find left over
        if len(shape) < 2:
            raise CorruptFile(stored.where, f"{name} is quantized, and is no matrix but {[*shape]}.")
        stored.check_shape(parts["codes"], (*shape[:-1], -(-shape[-1] // pair)))
        allowed = [
            (*shape[:axis], -(-shape[axis] // (self.group_size or shape[axis])), *shape[axis + 1 :])
            for axis in (len(shape) - 1, len(shape) - 2)
        ]
        for role in roles[1:]:
            stored.check_shape(parts[role], *allowed)
        if self.bits == 4 and stored.tensors[parts["zeros"]].shape != stored.tensors[parts["scales"]].shape:
            raise CorruptFile(stored.where, f"{parts['zeros']} has not the shape of {parts['scales']}.")
        return PackedWeight(shape, f"int{self.bits}", parts, partial(_unpack, packing=self, shape=shape))


def _unpack(
    parts: "Mapping[str, torch.Tensor]", dtype: "torch.dtype", *, packing: LitGptInt, shape: Shape
) -> "torch.Tensor":
    import torch

    codes, scales = parts["codes"], parts["scales"].float()
    if packing.bits == 4:
        codes = torch.stack((codes & MASK, codes >> 4), -1).flatten(-2)[..., : shape[-1]]
    numbers = codes.float()
    axis = next((at for at in (-1, -2) if scales.shape[at] != shape[at]), -1)

    def spread(those: "torch.Tensor") -> "torch.Tensor":
        if packing.group_size is None:
            return those
        of_input = torch.arange(shape[axis]) // packing.group_size
        return those.index_select(axis, of_input)

    if packing.bits == 4:
        numbers.sub_(ZERO_CODE).mul_(spread(scales)).add_(spread(parts["zeros"].float()))
    else:
        numbers.mul_(scales)
    return numbers.to(dtype)
