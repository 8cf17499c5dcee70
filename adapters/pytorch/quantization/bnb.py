"""`bnb.*`: bitsandbytes 4-bit (arXiv:2305.14314) and 8-bit (arXiv:2208.07339) quantization."""

import logging
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.quantization.quantized_linear import QuantizedLinear, is_small_batch
from litgpt.domain.errors import NotInstalled
from litgpt.domain.quantization import BNB_BLOCK_SIZE, BNB_SCALES_BLOCK_SIZE, Quantization

# Columns of activations with a larger magnitude are outliers, which are not quantized (LLM.int8()).
_OUTLIER_THRESHOLD = 6.0
_MAX_CODE = 127


def import_bitsandbytes() -> Any:
    """Import bitsandbytes, or raise NotInstalled."""
    # Silence the warning about an optional package of kernels.
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


class Bnb4Linear(QuantizedLinear):
    """A linear layer in NF4 or FP4, in blocks of 64; with `-dq`, the scales are quantized to 8 bits."""

    codes: Tensor
    absmax: Tensor
    quant_map: Tensor
    nested_absmax: Tensor
    nested_map: Tensor
    offset: Tensor

    @classmethod
    def from_weight(cls, weight: Tensor, quantization: Quantization, bias: nn.Parameter | None) -> Self:
        self = cls(quantization, bias)
        codes, state = import_bitsandbytes().functional.quantize_4bit(
            weight.contiguous(),
            blocksize=BNB_BLOCK_SIZE,
            compress_statistics=self.nested,
            quant_type=self.quant_type,
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
    def quant_type(self) -> str:
        return self.quantization.removeprefix("bnb.").removesuffix("-dq")

    @property
    def nested(self) -> bool:
        """Whether the scales are quantized (double quantization)."""
        return self.quantization.endswith("-dq")

    def scales(self) -> Tensor:
        """Return the dequantized scales of the blocks, in float32."""
        if not self.nested:
            return self.absmax
        package = import_bitsandbytes().functional
        state = package.QuantState(
            absmax=self.nested_absmax,
            code=self.nested_map,
            blocksize=BNB_SCALES_BLOCK_SIZE,
            dtype=torch.float32,
        )
        scales: Tensor = package.dequantize_blockwise(self.absmax, state) + self.offset
        return scales

    def rows(self, block: slice) -> Tensor:
        start, stop, _ = block.indices(self.shape[0])
        columns = self.shape[1]
        first, last = start * columns // BNB_BLOCK_SIZE, -(-stop * columns // BNB_BLOCK_SIZE)
        codes = self.codes.flatten()[first * BNB_BLOCK_SIZE // 2 : last * BNB_BLOCK_SIZE // 2]
        scales = self.scales()[first:last]
        if not columns % BNB_BLOCK_SIZE:
            state = self._quant_state(scales, (stop - start, columns), torch.float32)
            weight: Tensor = import_bitsandbytes().functional.dequantize_4bit(codes.view(-1, 1), state)
            return weight
        # The CPU kernels of bitsandbytes 0.50.2 use wrong scales if blocks span rows.
        values = self.quant_map[torch.stack((codes >> 4, codes & 15), -1).flatten().int()]
        values = values * scales.repeat_interleave(BNB_BLOCK_SIZE)[: len(values)]
        offset = start * columns - first * BNB_BLOCK_SIZE
        return values[offset:][: (stop - start) * columns].view(-1, columns)

    def packed_matmul(self, x: Tensor) -> Callable[[], Tensor] | None:
        """Return the product of bitsandbytes, on a GPU for any number of rows."""
        if self.shape[1] % BNB_BLOCK_SIZE or (
            x.device.type == "cpu" and not is_small_batch(self.quantization, x)
        ):
            return None
        state = self._quant_state(self.scales(), self.shape, x.dtype)
        return lambda: import_bitsandbytes().matmul_4bit(x, self.codes, state)

    def _quant_state(self, scales: Tensor, shape: tuple[int, int], dtype: torch.dtype) -> Any:
        """Return the state of bitsandbytes, created on each call because the buffers may have moved."""
        return import_bitsandbytes().functional.QuantState(
            absmax=scales,
            shape=torch.Size(shape),
            code=self.quant_map,
            blocksize=BNB_BLOCK_SIZE,
            quant_type=self.quant_type,
            dtype=dtype,
        )


class Bnb8Linear(QuantizedLinear):
    """A linear layer in LLM.int8(): weights and activations have 8 bits, except for outliers."""

    codes: Tensor
    absmax: Tensor

    @classmethod
    def from_weight(cls, weight: Tensor, quantization: Quantization, bias: nn.Parameter | None) -> Self:
        self = cls(quantization, bias)
        # Quantized from float16, as in bitsandbytes' own layers.
        codes, absmax, _ = import_bitsandbytes().functional.int8_vectorwise_quant(weight.half())
        self.register_buffer("codes", codes)
        self.register_buffer("absmax", absmax)
        self.shape = (codes.shape[0], codes.shape[1])
        return self

    def rows(self, block: slice) -> Tensor:
        return self.codes[block].float() * (self.absmax[block] / _MAX_CODE)[:, None]

    @property
    def storage_spec(self) -> dict[str, tuple[int, torch.dtype]]:
        return {"codes": (self.codes.shape[1], torch.int8), "scales": (1, torch.float32)}

    def stored_tensor(self, role: str) -> Tensor:
        return self.codes if role == "codes" else (self.absmax / _MAX_CODE)[:, None]

    def matmul(self, x: Tensor) -> Tensor:
        """Return (…, out) for `x` (…, in), without the bias; `x` is quantized, too."""
        package = import_bitsandbytes()
        state = package.MatmulLtState()
        state.CB, state.SCB, state.threshold = self.codes, self.absmax, _OUTLIER_THRESHOLD
        state.has_fp16_weights, state.is_training = False, False
        # bitsandbytes computes in float16 and warns on each call if the input has another dtype.
        out: Tensor = package.matmul(x.half(), self.codes, state=state).to(x.dtype)
        return out
