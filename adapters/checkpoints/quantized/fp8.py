"""Weights in eight-bit floats, each with a scale: of the whole, of each output, or of blocks.

DeepSeek-V3 (arXiv:2412.19437) has blocks of 128 x 128 and calls their scales `weight_scale_inv`; others call
them `weight_scale`. Either is multiplied by. A scale may be stored as an exponent alone, as floats of eight
exponent bits or as the same bits in an integer (OCP Microscaling Formats 1.0).
"""

from collections.abc import Mapping
from functools import partial
from math import prod
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.quantized.bit_packing import row_chunks
from litgpt.adapters.checkpoints.quantized.e8m0 import e8m0_to_float32
from litgpt.adapters.checkpoints.quantized.quant_format import FLOATS, PackedWeight, Shape, StoredTensors
from litgpt.adapters.checkpoints.quantized.quantization_config import LARGEST_GROUP, QuantizationConfig
from litgpt.domain.errors import CorruptFile
from litgpt.domain.validators import is_integer

if TYPE_CHECKING:
    import torch

DEFAULT_BLOCK_SIZE = (128, 128)
FORMATS = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")


@attrs.frozen
class Fp8:
    """Eight-bit floats.

    Attributes:
        block_size: The rows and columns that share a scale, where there is not one scale for all, or for each
            output.

    """

    block_size: tuple[int, int] | None = None
    description: str = "quantized to FP8"
    # Activations, and the keys and values of a cache, were quantized too; here they are not.
    ignored: tuple[str, ...] = (
        "*.input_scale",
        "*.input_scale_ub",
        "*.activation_scale",
        "*.output_scale",
        "*.k_scale",
        "*.v_scale",
        "*.kv_scale",
    )

    @classmethod
    def read(cls, settings: QuantizationConfig) -> "Fp8":
        """Return the packing that a config tells.

        Raises:
            UnsupportedModel: It is another one.

        """
        settings.require_one_of("scale_fmt", "float", "ue8m0")
        settings.require_one_of("expert_dtype", "fp8")
        said = settings.values.get("weight_block_size", [*DEFAULT_BLOCK_SIZE])
        return cls(parse_block_size(settings, "weight_block_size", said))

    @classmethod
    def read_fbgemm(cls, settings: QuantizationConfig) -> "Fp8":  # noqa: ARG003 - nothing there changes weights
        """Return the packing that `fbgemm_fp8` is: a scale for each output."""
        return cls()

    def packed_weights(self, stored: StoredTensors) -> dict[str, PackedWeight]:
        """Return the packed weights, each of the shape it is stored in."""
        of_floats = {name for name, info in stored.tensors.items() if info.storage_format in FORMATS}
        of_scales = {*stored.prefixes_of("_scale_inv", "_scale")} & {*stored.tensors}
        return {
            name: self._weight(stored, name)
            for name in stored.tensors
            if name in of_floats or (name in of_scales and name.endswith(".weight"))
        }

    def _weight(self, stored: StoredTensors, name: str) -> PackedWeight:
        info = stored.require(name, *FORMATS, purpose=name)
        scale = f"{name}_scale_inv" if f"{name}_scale_inv" in stored.tensors else f"{name}_scale"
        found = stored.require(scale, *FLOATS, "F8_E8M0", "U8", purpose=name)
        if not prod(info.shape) or not info.shape or not self._fits(info.shape, found.shape):
            per = (
                f"blocks of {self.block_size[0]} x {self.block_size[1]}"
                if self.block_size
                else "the whole or each output"
            )
            raise CorruptFile(
                stored.where,
                f"{scale} has the shape {[*found.shape]}: no scales for {per} of {[*info.shape]}.",
            )
        unpack = partial(_unpack, block=self.block_size)
        return PackedWeight(info.shape, info.storage_format, {"weight": name, "scale": scale}, unpack)

    def _fits(self, shape: Shape, scale: Shape) -> bool:
        return (
            prod(scale) == 1
            or scale in (shape[:1], _broadcast_shape(shape, scale))
            or (self.block_size is not None and scale == _block_scale_shape(shape, self.block_size))
        )


def _broadcast_shape(shape: Shape, scale: Shape) -> Shape | None:
    """Return a scale's shape if each of its sizes is the weight's or 1, and one of the last two is 1."""
    fits = len(scale) == len(shape) and all(one in (1, size) for one, size in zip(scale, shape, strict=True))
    return scale if fits and 1 in scale[-2:] else None


def _block_scale_shape(shape: Shape, block: tuple[int, int]) -> Shape | None:
    """Return the shape of a weight's scales if each block of its rows and columns has one."""
    if len(shape) < 2:
        return None
    return (*shape[:-2], -(-shape[-2] // block[0]), -(-shape[-1] // block[1]))


def parse_block_size(settings: QuantizationConfig, name: str, value: object) -> tuple[int, int] | None:
    """Return the rows and columns of a block, if there are blocks.

    Raises:
        UnsupportedModel: They are no two sizes.

    """
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(is_integer(one, 1) and one <= LARGEST_GROUP for one in value)
    ):
        reason = f"is not a block of rows and columns, each from 1 to {LARGEST_GROUP}"
        settings.raise_unsupported(name, value, reason)
    return value[0], value[1]


def _unpack(
    parts: "Mapping[str, torch.Tensor]", dtype: "torch.dtype", *, block: tuple[int, int] | None
) -> "torch.Tensor":
    import torch

    stored, scale = parts["weight"], _in_floats(parts["scale"])
    weight = torch.empty(stored.shape, dtype=dtype)
    if block is not None and tuple(scale.shape) == _block_scale_shape(tuple(stored.shape), block):
        matrices = (one.view(-1, *one.shape[-2:]) for one in (stored, scale, weight))
        for matrix, scales, room in zip(*matrices, strict=True):
            _multiply_blocks(matrix, scales, block, room)
        return weight
    if scale.numel() == 1:
        scale = scale.reshape(())
    elif scale.dim() < stored.dim():
        scale = scale.view(-1, *(1 for _ in stored.shape[1:]))
    scale = scale.expand(stored.shape)
    for some in row_chunks(len(stored), prod(stored.shape[1:])):
        weight[some] = stored[some].float().mul_(scale[some])
    return weight


def _multiply_blocks(
    matrix: "torch.Tensor", scales: "torch.Tensor", block: tuple[int, int], room: "torch.Tensor"
) -> None:
    """Write a matrix into `room`, each block multiplied by its scale; those at the edges may be smaller."""
    rows, columns = (min(one, size) for one, size in zip(block, matrix.shape, strict=True))
    for some in row_chunks(*matrix.shape, of=rows):
        those = scales[some.start // rows : -(-some.stop // rows)].repeat_interleave(rows, 0)
        those = those[: some.stop - some.start].repeat_interleave(columns, 1)
        room[some] = matrix[some].float().mul_(those[:, : matrix.shape[1]])


def _in_floats(scale: "torch.Tensor") -> "torch.Tensor":
    import torch

    return e8m0_to_float32(scale) if scale.dtype == torch.uint8 else scale.float()
