"""`bnb.…`: bitsandbytes's four bits (arXiv:2305.14314) and eight bits (arXiv:2208.07339)."""

import logging
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.quantised.linear import QuantisedLinear
from litgpt.domain.errors import NotInstalled
from litgpt.domain.quantization import BLOCK, Quantization

# Activations that are larger are multiplied by dequantised weights, as the paper has it.
_OUTLIER = 6.0
_MOST = 127


def bitsandbytes() -> Any:
    """Return the package.

    Raises:
        NotInstalled: It is not there.

    """
    # It logs that an optional package of kernels is not there, which nobody asked for.
    log = logging.getLogger("bitsandbytes")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        import bitsandbytes as package
    except ImportError as error:
        raise NotInstalled("quantize='bnb.…'", "bitsandbytes", "pip install bitsandbytes") from error
    finally:
        log.setLevel(level)
    return package


class Bnb4Linear(QuantisedLinear):
    """A linear layer in NF4 or FP4, in blocks of 64; with `-dq` their scales are in eight bits themselves."""

    codes: Tensor
    absmax: Tensor
    quant_map: Tensor
    state: Any

    @classmethod
    def of(cls, weight: Tensor, how: Quantization, dtype: torch.dtype, bias: nn.Parameter | None) -> Self:
        """Return the layer of a weight; as `QuantisedLinear.of`."""
        self = cls(how, bias)
        codes, state = bitsandbytes().functional.quantize_4bit(
            weight.contiguous(),
            blocksize=BLOCK,
            compress_statistics=how.endswith("-dq"),
            quant_type=how.removeprefix("bnb.").removesuffix("-dq"),
        )
        self.register_buffer("codes", codes)
        self.register_buffer("absmax", state.absmax)
        self.register_buffer("quant_map", state.code, persistent=False)
        if state.nested:
            self.register_buffer("nested_absmax", state.state2.absmax)
            self.register_buffer("nested_map", state.state2.code, persistent=False)
            self.register_buffer("offset", state.offset)
        state.dtype = dtype
        self.state = state
        return self

    def scales(self) -> Tensor:
        """Return the scales of the blocks in float32, those of `-dq` unpacked."""
        if not self.state.nested:
            return self.absmax
        unpacked = bitsandbytes().functional.dequantize_blockwise(self.absmax, self.state.state2)
        scales: Tensor = unpacked + self.state.offset
        return scales

    def dequantised(self) -> Tensor:
        """Return the weight (out, in) that the layer multiplies by, in float32."""
        packed = self.codes.flatten()
        pairs = torch.stack((packed >> 4, packed & 15), -1).flatten()
        count = self.state.shape.numel()
        numbers = self.quant_map[pairs[:count].int()]
        scales = self.scales().repeat_interleave(BLOCK)[:count]
        weight: Tensor = (numbers * scales).view(self.state.shape)
        return weight

    def product(self, x: Tensor) -> Tensor:
        """Return (…, out) for `x` (…, in)."""
        if self.state.shape[1] % BLOCK:
            # Its kernels for CPUs (of 0.50.2) take wrong scales where blocks go on in the next row.
            return functional.linear(x, self.dequantised().to(x.dtype), self.bias)
        out: Tensor = bitsandbytes().matmul_4bit(x, self.codes, self.state, bias=self.bias)
        return out


class Bnb8Linear(QuantisedLinear):
    """A linear layer in eight bits, whose activations are put in eight bits too, but for the largest."""

    codes: Tensor
    absmax: Tensor

    @classmethod
    def of(cls, weight: Tensor, how: Quantization, dtype: torch.dtype, bias: nn.Parameter | None) -> Self:
        """Return the layer of a weight; as `QuantisedLinear.of`."""
        del dtype
        self = cls(how, bias)
        # Quantised in float16, as bitsandbytes's own layers are.
        codes, absmax, _ = bitsandbytes().functional.int8_vectorwise_quant(weight.half())
        self.register_buffer("codes", codes)
        self.register_buffer("absmax", absmax)
        return self

    def dequantised(self) -> Tensor:
        """Return the weight (out, in) that the layer multiplies by, in float32."""
        return self.codes.float() * (self.absmax / _MOST)[:, None]

    @property
    def kept(self) -> dict[str, tuple[int, torch.dtype]]:
        """What is stored of it; as `QuantisedLinear.kept`."""
        return {"codes": (self.codes.shape[1], torch.int8), "scales": (1, torch.float32)}

    def part(self, role: str) -> Tensor:
        """Return codes or scales; as `QuantisedLinear.part`."""
        return self.codes if role == "codes" else (self.absmax / _MOST)[:, None]

    def product(self, x: Tensor) -> Tensor:
        """Return (…, out) for `x` (…, in)."""
        package = bitsandbytes()
        state = package.MatmulLtState()
        state.CB, state.SCB, state.threshold = self.codes, self.absmax, _OUTLIER
        state.has_fp16_weights, state.is_training = False, False
        # It works in float16, and says so at each call if it is given anything else.
        out: Tensor = package.matmul(x.half(), self.codes, state=state).to(x.dtype)
        return out if self.bias is None else out + self.bias
