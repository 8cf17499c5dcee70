"""`int8`: integers from -127 to 127, with one scale per row."""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.ops.blockwise_matmul import WeightRows
from litgpt.adapters.pytorch.quantization.quantized_linear import QuantizedLinear, is_small_batch
from litgpt.domain.quantization import Quantization

_MAX_CODE = 127


def quantize_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes (out, in) in int8, and scales (out) in bfloat16, of a weight (out, in) in float32.

    Codes are computed with the rounded scale, so that quantization is idempotent: quantizing the dequantized
    weight, in float32, yields the same codes and scales.
    """
    scales = (weight.abs().amax(1) / _MAX_CODE).bfloat16()
    steps = torch.where(scales == 0, 1, scales.float())  # the scale of a row of zeros is 0
    codes = (weight / steps[:, None]).round_().clamp_(-_MAX_CODE, _MAX_CODE).to(torch.int8)
    return codes, scales


class Int8Linear(QuantizedLinear):
    """A linear layer with 8-bit weights; activations are not quantized."""

    codes: Tensor
    scales: Tensor

    @classmethod
    def from_weight(cls, weight: Tensor, quantization: Quantization, bias: nn.Parameter | None) -> Self:
        self = cls(quantization, bias)
        codes, scales = quantize_int8(weight)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.shape = (codes.shape[0], codes.shape[1])
        return self

    def rows(self, block: slice) -> Tensor:
        return self.codes[block].float() * self.scales[block].float()[:, None]

    def matmul_factors(self, dtype: torch.dtype) -> tuple[WeightRows, Tensor | None]:
        """Return the codes, which all dtypes represent exactly, and the scales."""
        if dtype == torch.float16:  # sums of codes would overflow
            return self.rows, None
        return self.codes.__getitem__, self.scales

    def packed_matmul(self, x: Tensor) -> Callable[[], Tensor] | None:
        # The kernel reads past the end of rows whose length is not a multiple of its vector size.
        fits = not self.shape[0] % 16 and not self.shape[1] % 32
        if x.dtype != torch.bfloat16 or not fits or not is_small_batch(self.quantization, x):
            return None
        return lambda: torch._weight_int8pack_mm(x, self.codes, self.scales)  # noqa: SLF001 - torch's

    @property
    def storage_spec(self) -> dict[str, tuple[int, torch.dtype]]:
        return {"codes": (self.shape[1], torch.int8), "scales": (1, torch.bfloat16)}

    def stored_tensor(self, role: str) -> Tensor:
        return self.codes if role == "codes" else self.scales[:, None]
