"""`int8`: whole numbers from -127 to 127, and a scale for each row."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.quantised.linear import FEW_ROWS, QuantisedLinear, is_fast
from litgpt.domain.quantization import Quantization

_MOST = 127


def eight_bits(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes (out, in) in int8, and scales (out) in bfloat16, of a weight (out, in) in float32.

    The scale is rounded first and the codes are counted in what it became: a weight that was quantised so,
    and dequantised in float32, has the same codes and scales again.
    """
    scales = (weight.abs().amax(1) / _MOST).bfloat16()
    steps = torch.where(scales == 0, 1, scales.float())  # a row of zeros has no scale
    codes = (weight / steps[:, None]).round_().clamp_(-_MOST, _MOST).to(torch.int8)
    return codes, scales


class Int8Linear(QuantisedLinear):
    """A linear layer in eight bits; activations stay as they are."""

    codes: Tensor
    scales: Tensor

    def __init__(
        self, how: Quantization, bias: nn.Parameter | None, codes: Tensor, scales: Tensor, dtype: torch.dtype
    ) -> None:
        super().__init__(how, bias)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.fast = is_fast(codes, dtype) and hasattr(torch, "_weight_int8pack_mm")

    @classmethod
    def of(cls, weight: Tensor, how: Quantization, dtype: torch.dtype, bias: nn.Parameter | None) -> Self:
        """Return the layer of a weight; as `QuantisedLinear.of`."""
        return cls(how, bias, *eight_bits(weight), dtype)

    def dequantised(self) -> Tensor:
        """Return the weight (out, in) that the layer multiplies by, in float32."""
        return self.codes.float() * self.scales.float()[:, None]

    @property
    def kept(self) -> dict[str, tuple[int, torch.dtype]]:
        """What is stored of it; as `QuantisedLinear.kept`."""
        return {"codes": (self.codes.shape[1], torch.int8), "scales": (1, torch.bfloat16)}

    def part(self, role: str) -> Tensor:
        """Return codes or scales; as `QuantisedLinear.part`."""
        return self.codes if role == "codes" else self.scales[:, None]

    def product(self, x: Tensor) -> Tensor:
        """Return (…, out) for `x` (…, in)."""
        if x.dtype != torch.bfloat16:  # in float16, sums of codes would overflow
            return functional.linear(x, self.dequantised().to(x.dtype), self.bias)
        if self.fast and x.numel() <= FEW_ROWS * x.shape[-1]:
            flat = x.reshape(-1, x.shape[-1])
            out: Tensor = torch._weight_int8pack_mm(flat, self.codes, self.scales)  # noqa: SLF001 - torch's
            out = out.view(*x.shape[:-1], -1)
        else:
            out = functional.linear(x, self.codes.to(x.dtype)) * self.scales
        return out if self.bias is None else out + self.bias
