"""`bnb.…`: bitsandbytes's four bits (arXiv:2305.14314) and eight bits (arXiv:2208.07339)."""

import logging
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.quantised.linear import QuantisedLinear, is_few
from litgpt.domain.errors import NotInstalled
from litgpt.domain.quantization import BLOCK, SCALES_BLOCK, Quantization

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
    nested_absmax: Tensor
    nested_map: Tensor
    offset: Tensor

    @classmethod
    def of(cls, weight: Tensor, how: Quantization, bias: nn.Parameter | None) -> Self:
        """Return the layer of a weight; as `QuantisedLinear.of`."""
        self = cls(how, bias)
        codes, state = bitsandbytes().functional.quantize_4bit(
            weight.contiguous(),
            blocksize=BLOCK,
            compress_statistics=self.nested,
            quant_type=self.kind,
        )
        self.shape = (weight.shape[0], weight.shape[1])
        self.register_buffer("codes", codes)
        self.register_buffer("absmax", state.absmax)
        self.register_buffer("quant_map", state.code, persistent=False)
        if self.nested:
            self.register_buffer("nested_absmax", state.state2.absmax)
            self.register_buffer("nested_map", state.state2.code, persistent=False)
            self.register_buffer("offset", state.offset)
        return self

    @property
    def kind(self) -> str:
        """`nf4` or `fp4`."""
        return self.how.removeprefix("bnb.").removesuffix("-dq")

    @property
    def nested(self) -> bool:
        """Whether the scales are in eight bits."""
        return self.how.endswith("-dq")

    def scales(self) -> Tensor:
        """Return the scales of the blocks in float32, those of `-dq` unpacked."""
        if not self.nested:
            return self.absmax
        package = bitsandbytes().functional
        state = package.QuantState(
            absmax=self.nested_absmax, code=self.nested_map, blocksize=SCALES_BLOCK, dtype=torch.float32
        )
        scales: Tensor = package.dequantize_blockwise(self.absmax, state) + self.offset
        return scales

    def rows(self, block: slice) -> Tensor:
        """Return rows of the weight in float32; as `QuantisedLinear.rows`."""
        start, stop, _ = block.indices(self.shape[0])
        columns = self.shape[1]
        first, last = start * columns // BLOCK, -(-stop * columns // BLOCK)
        codes = self.codes.flatten()[first * BLOCK // 2 : last * BLOCK // 2]
        scales = self.scales()[first:last]
        if not columns % BLOCK:
            state = self._state(scales, (stop - start, columns), torch.float32)
            weight: Tensor = bitsandbytes().functional.dequantize_4bit(codes.view(-1, 1), state)
            return weight
        # Its kernels for CPUs (of 0.50.2) take wrong scales where blocks go on in the next row.
        numbers = self.quant_map[torch.stack((codes >> 4, codes & 15), -1).flatten().int()]
        numbers = numbers * scales.repeat_interleave(BLOCK)[: len(numbers)]
        return numbers[start * columns - first * BLOCK :][: (stop - start) * columns].view(-1, columns)

    def packed(self, x: Tensor) -> Callable[[], Tensor] | None:
        """Return the package's product, of a GPU with any number of rows; as `QuantisedLinear.packed`."""
        if self.shape[1] % BLOCK or (x.device.type == "cpu" and not is_few(self.how, x)):
            return None
        state = self._state(self.scales(), self.shape, x.dtype)
        return lambda: bitsandbytes().matmul_4bit(x, self.codes, state)

    def _state(self, scales: Tensor, shape: tuple[int, int], dtype: torch.dtype) -> Any:
        """Return what the package wants to know of codes; made anew, so that it is where the buffers are."""
        return bitsandbytes().functional.QuantState(
            absmax=scales,
            shape=torch.Size(shape),
            code=self.quant_map,
            blocksize=BLOCK,
            quant_type=self.kind,
            dtype=dtype,
        )


class Bnb8Linear(QuantisedLinear):
    """A linear layer in eight bits, whose activations are put in eight bits too, but for the largest."""

    codes: Tensor
    absmax: Tensor

    @classmethod
    def of(cls, weight: Tensor, how: Quantization, bias: nn.Parameter | None) -> Self:
        """Return the layer of a weight; as `QuantisedLinear.of`."""
        self = cls(how, bias)
        # Quantised in float16, as bitsandbytes's own layers are.
        codes, absmax, _ = bitsandbytes().functional.int8_vectorwise_quant(weight.half())
        self.register_buffer("codes", codes)
        self.register_buffer("absmax", absmax)
        self.shape = (codes.shape[0], codes.shape[1])
        return self

    def rows(self, block: slice) -> Tensor:
        """Return rows of the weight in float32; as `QuantisedLinear.rows`."""
        return self.codes[block].float() * (self.absmax[block] / _MOST)[:, None]

    @property
    def kept(self) -> dict[str, tuple[int, torch.dtype]]:
        """What is stored of it; as `QuantisedLinear.kept`."""
        return {"codes": (self.codes.shape[1], torch.int8), "scales": (1, torch.float32)}

    def part(self, role: str) -> Tensor:
        """Return codes or scales; as `QuantisedLinear.part`."""
        return self.codes if role == "codes" else (self.absmax / _MOST)[:, None]

    def product(self, x: Tensor) -> Tensor:
        """Return (…, out) for `x` (…, in), which is quantised too; as `QuantisedLinear.product`."""
        package = bitsandbytes()
        state = package.MatmulLtState()
        state.CB, state.SCB, state.threshold = self.codes, self.absmax, _OUTLIER
        state.has_fp16_weights, state.is_training = False, False
        # It works in float16, and says so at each call if it is given anything else.
        out: Tensor = package.matmul(x.half(), self.codes, state=state).to(x.dtype)
        return out
