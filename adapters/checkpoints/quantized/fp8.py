"""FP8 weights, with a scale per tensor, per output channel or per block.

DeepSeek-V3 (arXiv:2412.19437) has blocks of 128 x 128 and names the scales `weight_scale_inv`; other models
name them `weight_scale`. Weights are multiplied by either. A scale may be stored as an exponent alone (E8M0),
as a float8 dtype or as the same bits in uint8 (OCP Microscaling Formats 1.0).
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
    """The FP8 format.

    `block_size` is the rows and columns of a block with its own scale; per-tensor and per-channel scales are
    also accepted.
    """

    block_size: tuple[int, int] | None = None
    description: str = "quantized to FP8"
    # Scales of quantized activations and KV caches, which this library keeps unquantized.
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
        settings.require_one_of("scale_fmt", "float", "ue8m0")
        settings.require_one_of("expert_dtype", "fp8")
        block_size = settings.values.get("weight_block_size", [*DEFAULT_BLOCK_SIZE])
        return cls(parse_block_size(settings, "weight_block_size", block_size))

    @classmethod
    def read_fbgemm(cls, settings: QuantizationConfig) -> "Fp8":  # noqa: ARG003 - no setting affects weights
        """Return the format of `fbgemm_fp8`: a scale per output channel."""
        return cls()

    def packed_weights(self, stored: StoredTensors) -> dict[str, PackedWeight]:
        fp8 = {name for name, info in stored.tensors.items() if info.storage_format in FORMATS}
        scaled = {*stored.prefixes_of("_scale_inv", "_scale")} & {*stored.tensors}
        return {
            name: self._weight(stored, name)
            for name in stored.tensors
            if name in fp8 or (name in scaled and name.endswith(".weight"))
        }

    def _weight(self, stored: StoredTensors, name: str) -> PackedWeight:
        info = stored.require(name, *FORMATS, purpose=name)
        scale = f"{name}_scale_inv" if f"{name}_scale_inv" in stored.tensors else f"{name}_scale"
        scale_info = stored.require(scale, *FLOATS, "F8_E8M0", "U8", purpose=name)
        if not prod(info.shape) or not info.shape or not self._fits(info.shape, scale_info.shape):
            granularity = (
                f"blocks of {self.block_size[0]} x {self.block_size[1]}"
                if self.block_size
                else "tensor or output channel"
            )
            raise CorruptFile(
                stored.where,
                f"{scale} has shape {[*scale_info.shape]}, expected a scale per {granularity} "
                f"for a weight of shape {[*info.shape]}.",
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
    """Return a scale's shape if it broadcasts to the weight's and one of its last two dimensions is 1."""
    fits = len(scale) == len(shape) and all(
        actual in (1, size) for actual, size in zip(scale, shape, strict=True)
    )
    return scale if fits and 1 in scale[-2:] else None


def _block_scale_shape(shape: Shape, block: tuple[int, int]) -> Shape | None:
    if len(shape) < 2:
        return None
    return (*shape[:-2], -(-shape[-2] // block[0]), -(-shape[-1] // block[1]))


def parse_block_size(settings: QuantizationConfig, name: str, value: object) -> tuple[int, int] | None:
    """Return the rows and columns of a block; None without blocks."""
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(is_integer(size, 1) and size <= LARGEST_GROUP for size in value)
    ):
        reason = f"is not a list of two block sizes from 1 to {LARGEST_GROUP}"
        settings.raise_unsupported(name, value, reason)
    return value[0], value[1]


def _unpack(
    parts: "Mapping[str, torch.Tensor]", dtype: "torch.dtype", *, block: tuple[int, int] | None
) -> "torch.Tensor":
    import torch

    stored, scale = parts["weight"], _in_floats(parts["scale"])
    weight = torch.empty(stored.shape, dtype=dtype)
    if block is not None and tuple(scale.shape) == _block_scale_shape(tuple(stored.shape), block):
        matrices = (tensor.view(-1, *tensor.shape[-2:]) for tensor in (stored, scale, weight))
        for matrix, scales, out in zip(*matrices, strict=True):
            _multiply_blocks(matrix, scales, block, out)
        return weight
    if scale.numel() == 1:
        scale = scale.reshape(())
    elif scale.dim() < stored.dim():
        scale = scale.view(-1, *(1 for _ in stored.shape[1:]))
    scale = scale.expand(stored.shape)
    for rows in row_chunks(len(stored), prod(stored.shape[1:])):
        weight[rows] = stored[rows].float().mul_(scale[rows])
    return weight


def _multiply_blocks(
    matrix: "torch.Tensor", scales: "torch.Tensor", block: tuple[int, int], out: "torch.Tensor"
) -> None:
    """Multiply each block of a matrix by its scale, into `out`. Blocks at the edges may be smaller."""
    rows, columns = (min(limit, size) for limit, size in zip(block, matrix.shape, strict=True))
    for chunk in row_chunks(*matrix.shape, of=rows):
        factors = scales[chunk.start // rows : -(-chunk.stop // rows)].repeat_interleave(rows, 0)
        factors = factors[: chunk.stop - chunk.start].repeat_interleave(columns, 1)
        out[chunk] = matrix[chunk].float().mul_(factors[:, : matrix.shape[1]])


def _in_floats(scale: "torch.Tensor") -> "torch.Tensor":
    import torch

    return e8m0_to_float32(scale) if scale.dtype == torch.uint8 else scale.float()
