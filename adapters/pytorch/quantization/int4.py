"""`int4`: integers from 0 to 15, with a scale and a zero point for each group of 32 in a row."""

from collections.abc import Callable
from functools import cache
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.quantization.quantized_linear import QuantizedLinear, is_small_batch
from litgpt.domain.quantization import GROUP_SIZE, Quantization

_MAX_CODE, _ZERO_CODE = 15, 8


def quantize_int4(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize a weight (out, in) in float32 to 4 bits: (code - 8) * scale + zero.

    The range of a group contains 0, and both of its ends are codes, so that quantization is idempotent:
    quantizing the dequantized weight, in float32, yields the same codes.

    Returns:
        Codes (out, in) in uint8, one per byte, with `in` padded to whole groups; and (groups, out, 2) in
        bfloat16: the scale, and the zero point, which is the value of code 8.
    """
    groups = functional.pad(weight, (0, -weight.shape[1] % GROUP_SIZE)).unflatten(1, (-1, GROUP_SIZE))
    lowest, highest = groups.amin(2).clamp(max=0), groups.amax(2).clamp(min=0)
    scales = ((highest - lowest) / _MAX_CODE).bfloat16()
    zeros = (lowest + _ZERO_CODE * scales.float()).bfloat16()
    steps = torch.where(scales == 0, 1, scales.float())  # the scale of a group of zeros is 0
    codes = (
        ((groups - zeros.float()[..., None]) / steps[..., None])
        .round_()
        .add_(_ZERO_CODE)
        .clamp_(0, _MAX_CODE)
    )
    return codes.to(torch.uint8).flatten(1), torch.stack((scales, zeros), -1).transpose(0, 1).contiguous()


def pack(codes: Tensor, block_size: int) -> Tensor:
    """Pack uint8 codes (out, in) two per byte, (out, in / 2), in blocks of `block_size` rows.

    A block is a matrix (in, block / 2) of bytes; the low bits are its first rows, the high bits its last
    rows. With the right block size, this is the layout of torch's int4 kernel on CPUs.
    """
    low, high = codes.unflatten(0, (-1, block_size)).transpose(1, 2).chunk(2, -1)
    packed: Tensor = low | (high << 4)
    return packed.reshape(codes.shape[0], -1).contiguous()  # it can be a view if there is a single block


def unpack(packed: Tensor, block_size: int) -> Tensor:
    """Return the codes (blocks, in, block) of whole blocks. Inverse of `pack`."""
    matrices = packed.view(-1, 2 * packed.shape[1], block_size // 2)
    return torch.cat((matrices & _MAX_CODE, matrices >> 4), -1)


@cache
def cpu_block_size() -> int | None:
    """Return the number of rows in a block of torch's int4 kernel; None if this CPU has no fast kernel."""
    if not hasattr(torch, "_convert_weight_to_int4pack_for_cpu"):
        return None
    block = {"AVX2": 32, "AVX512": 64}.get(torch.backends.cpu.get_cpu_capability())
    codes = torch.arange(64 * 32, dtype=torch.int32).mul_(7).remainder_(_MAX_CODE + 1).view(64, 32)
    packed = torch._convert_weight_to_int4pack_for_cpu(codes, 1)  # noqa: SLF001 - torch's
    return block if block and torch.equal(pack(codes.to(torch.uint8), block), packed) else None


class Int4Linear(QuantizedLinear):
    """A linear layer with 4-bit weights; activations are not quantized."""

    codes: Tensor
    scales_and_zeros: Tensor
    block_size: int

    @classmethod
    def from_weight(cls, weight: Tensor, quantization: Quantization, bias: nn.Parameter | None) -> Self:
        self = cls(quantization, bias)
        codes, scales_and_zeros = quantize_int4(weight)
        outputs, inputs = weight.shape
        block = cpu_block_size() if weight.device.type == "cpu" else None
        self.shape, self.block_size = (outputs, inputs), block if block and not outputs % block else 2
        self.register_buffer("codes", pack(functional.pad(codes, (0, 0, 0, outputs % 2)), self.block_size))
        self.register_buffer("scales_and_zeros", scales_and_zeros)
        return self

    def rows(self, block: slice) -> Tensor:
        start, stop, _ = block.indices(self.shape[0])
        # Converted to float32 last: bytes need a quarter of the memory bandwidth.
        codes = _unblock(self._dequantize_rows(start, stop))[: stop - start].view(torch.int8).sub_(_ZERO_CODE)
        scales_and_zeros = self.scales_and_zeros[:, start:stop].transpose(0, 1).float()
        scale, zero = scales_and_zeros.unsqueeze(2).unbind(-1)
        weight: Tensor = codes.unflatten(1, (-1, GROUP_SIZE)).float().mul_(scale).add_(zero)
        return weight.flatten(1)[:, : self.shape[1]]

    def packed_matmul(self, x: Tensor) -> Callable[[], Tensor] | None:
        if (
            x.dtype != torch.bfloat16
            or not is_small_batch(self.quantization, x)
            or self.block_size != cpu_block_size()
        ):
            return None
        return lambda: torch._weight_int4pack_mm_for_cpu(  # noqa: SLF001 - torch's
            functional.pad(x, (0, -x.shape[1] % GROUP_SIZE)), self.codes, GROUP_SIZE, self.scales_and_zeros
        )

    @property
    def storage_spec(self) -> dict[str, tuple[int, torch.dtype]]:
        groups = (self.scales_and_zeros.shape[0], torch.bfloat16)
        return {"codes": (self.shape[1], torch.uint8), "scales": groups, "zeros": groups}

    def stored_tensor(self, role: str) -> Tensor:
        if role == "codes":
            return _unblock(self._dequantize_rows(0, self.shape[0]))[: self.shape[0], : self.shape[1]]
        return self.scales_and_zeros[..., 0 if role == "scales" else 1].t()

    def _dequantize_rows(self, start: int, stop: int) -> Tensor:
        return unpack(self.codes[start : stop + stop % 2], self.block_size)


def _unblock(blocks: Tensor) -> Tensor:
    """Reshape (blocks, in, rows of a block) to (rows, in)."""
    return blocks.transpose(1, 2).flatten(0, 1)
