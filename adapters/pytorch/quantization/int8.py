"""`int8`: whole numbers from -127 to 127, and a scale for each row."""

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

    The scale is rounded first and the codes are counted in what it became: a weight that was quantized so,
    and dequantized in float32, has the same codes and scales again.
    """
    scales = (weight.abs().amax(1) / _MAX_CODE).bfloat16()
    steps = torch.where(scales == 0, 1, scales.float())  # a row of zeros has no scale
    codes = (weight / steps[:, None]).round_().clamp_(-_MAX_CODE, _MAX_CODE).to(torch.int8)
    return codes, scales


class Int8Linear(QuantizedLinear):
    """A linear layer in eight bits; activations stay as they are."""

    codes: Tensor
    scales: Tensor

    @classmethod
    def from_weight(cls, weight: Tensor, quantization: Quantization, bias: nn.Parameter | None) -> Self:
        """Return the layer of a weight; as `QuantizedLinear.of`."""
        self = cls(quantization, bias)
        codes, scales = quantize_int8(weight)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.shape = (codes.shape[0], codes.shape[1])
        return self

    def rows(self, block: slice) -> Tensor:
        """Return rows of the weight in float32; as `QuantizedLinear.rows`."""
        return self.codes[block].float() * self.scales[block].float()[:, None]

    def matmul_factors(self, dtype: torch.dtype) -> tuple[WeightRows, Tensor | None]:
        """Return the codes, which every dtype holds exactly, and the scales; as `QuantizedLinear.factors`."""
        if dtype == torch.float16:  # sums of codes would overflow
            return self.rows, None
        return self.codes.__getitem__, self.scales

    def packed_matmul(self, x: Tensor) -> Callable[[], Tensor] | None:
        """Return torch's product of 8 bits; as `QuantizedLinear.packed`."""
        # It reads past the end of rows whose length is not a multiple of its step.
        fits = not self.shape[0] % 16 and not self.shape[1] % 32
        if x.dtype != torch.bfloat16 or not fits or not is_small_batch(self.quantization, x):
            return None
        return lambda: torch._weight_int8pack_mm(x, self.codes, self.scales)  # noqa: SLF001 - torch's

    @property
    def storage_spec(self) -> dict[str, tuple[int, torch.dtype]]:
        """What is stored of it; as `QuantizedLinear.kept`."""
        return {"codes": (self.shape[1], torch.int8), "scales": (1, torch.bfloat16)}

    def stored_tensor(self, role: str) -> Tensor:
        """Return codes or scales; as `QuantizedLinear.part`."""
        return self.codes if role == "codes" else self.scales[:, None]
