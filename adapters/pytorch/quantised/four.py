"""`int4`: whole numbers from 0 to 15, and for every 32 of a row a scale and a zero point."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.quantised.linear import QuantisedLinear, is_fast
from litgpt.domain.quantization import GROUP, Quantization

_MOST, _MIDDLE = 15, 8


def four_bits(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return a weight (out, in) in float32 in four bits: (code - 8) x scale + zero.

    A group's range always contains 0, and both of its ends are codes. So a weight that was quantised so, and
    dequantised in float32, has the same codes again.

    Returns:
        Codes (out, in) in uint8, one to a byte, with `in` filled up to whole groups; and (groups, out, 2) in
        bfloat16, each the scale and then the zero, the number that code 8 stands for.

    """
    groups = functional.pad(weight, (0, -weight.shape[1] % GROUP)).unflatten(1, (-1, GROUP))
    lowest, highest = groups.amin(2).clamp(max=0), groups.amax(2).clamp(min=0)
    scales = ((highest - lowest) / _MOST).bfloat16()
    zeros = (lowest + _MIDDLE * scales.float()).bfloat16()
    steps = torch.where(scales == 0, 1, scales.float())  # a group of zeros has no scale
    codes = ((groups - zeros.float()[..., None]) / steps[..., None]).round_().add_(_MIDDLE).clamp_(0, _MOST)
    return codes.to(torch.uint8).flatten(1), torch.stack((scales, zeros), -1).transpose(0, 1).contiguous()


class Int4Linear(QuantisedLinear):
    """A linear layer in four bits; activations stay as they are.

    `codes` has two in a byte: in torch's order for CPUs where that has a fast product, otherwise the first of
    each two in the low bits.
    """

    codes: Tensor
    scales_and_zeros: Tensor

    def __init__(self, how: Quantization, bias: nn.Parameter | None, inputs: int) -> None:
        super().__init__(how, bias)
        self.inputs, self.fast = inputs, False

    @classmethod
    def of(cls, weight: Tensor, how: Quantization, dtype: torch.dtype, bias: nn.Parameter | None) -> Self:
        """Return the layer of a weight; as `QuantisedLinear.of`."""
        self = cls(how, bias, weight.shape[1])
        codes, scales_and_zeros = four_bits(weight)
        self.fast = is_fast(codes, dtype) and hasattr(torch, "_weight_int4pack_mm_for_cpu")
        if self.fast:
            packed = torch._convert_weight_to_int4pack_for_cpu(codes.int(), 1)  # noqa: SLF001 - torch's
        else:
            packed = codes[:, ::2] | (codes[:, 1::2] << 4)
        self.register_buffer("codes", packed)
        self.register_buffer("scales_and_zeros", scales_and_zeros)
        return self

    def plain_codes(self) -> Tensor:
        """Return the codes (out, in) in uint8, one to a byte."""
        if not self.fast:
            return torch.stack((self.codes & _MOST, self.codes >> 4), -1).flatten(1)[:, : self.inputs]
        # torch undoes its order nowhere but in its product: with ones for scales, of the unit matrix.
        groups, outputs, _ = self.scales_and_zeros.shape
        unit = torch.eye(groups * GROUP, dtype=torch.bfloat16)
        plain = torch.tensor((1, _MIDDLE), dtype=torch.bfloat16).expand(groups, outputs, 2).contiguous()
        return self._product(unit, plain).t()[:, : self.inputs].to(torch.uint8)

    def dequantised(self) -> Tensor:
        """Return the weight (out, in) that the layer multiplies by, in float32."""
        scales, zeros = self.scales_and_zeros.float().unbind(-1)
        of_input = torch.arange(self.inputs, device=scales.device) // GROUP
        codes = self.plain_codes().float().sub_(_MIDDLE)
        return codes.mul_(scales[of_input].t()).add_(zeros[of_input].t())

    @property
    def kept(self) -> dict[str, tuple[int, torch.dtype]]:
        """What is stored of it; as `QuantisedLinear.kept`."""
        groups = (self.scales_and_zeros.shape[0], torch.bfloat16)
        return {"codes": (self.inputs, torch.uint8), "scales": groups, "zeros": groups}

    def part(self, role: str) -> Tensor:
        """Return codes, scales or zeros; as `QuantisedLinear.part`."""
        if role == "codes":
            return self.plain_codes()
        return self.scales_and_zeros[..., 0 if role == "scales" else 1].t()

    def product(self, x: Tensor) -> Tensor:
        """Return (…, out) for `x` (…, in)."""
        if not self.fast or x.dtype != torch.bfloat16:
            return functional.linear(x, self.dequantised().to(x.dtype), self.bias)
        flat = functional.pad(x.reshape(-1, self.inputs), (0, -self.inputs % GROUP))
        out = self._product(flat, self.scales_and_zeros).view(*x.shape[:-1], -1)
        return out if self.bias is None else out + self.bias

    def _product(self, x: Tensor, scales_and_zeros: Tensor) -> Tensor:
        out: Tensor = torch._weight_int4pack_mm_for_cpu(x, self.codes, GROUP, scales_and_zeros)  # noqa: SLF001 - torch's
        return out
