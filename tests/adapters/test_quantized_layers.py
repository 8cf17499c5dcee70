import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from litgpt.adapters.pytorch.quantization import int4
from litgpt.adapters.pytorch.quantization.bnb import Bnb4Linear
from litgpt.adapters.pytorch.quantization.int4 import Int4Linear
from litgpt.adapters.pytorch.quantization.int8 import Int8Linear
from litgpt.adapters.pytorch.quantization.registry import QUANTIZED_LINEARS
from litgpt.domain.errors import NotInstalled
from litgpt.domain.quantization import QUANTIZATIONS, Quantization

# (out, in): two with fast matmuls in torch, one with an incomplete group, and a small one.
SHAPES = ((64, 96), (32, 128), (48, 80), (10, 50), (9, 64))
# The root of the mean square of the error over that of the weight, for normally distributed weights, as each
# format has it; a wrong group, a transposed block or a lost zero point has many times that.
ERRORS: dict[Quantization, tuple[float, float]] = {
    "int8": (0.004, 0.009),
    "bnb.int8": (0.004, 0.009),
    "int4": (0.05, 0.09),
    "bnb.nf4": (0.06, 0.1),
    "bnb.nf4-dq": (0.06, 0.1),
    "bnb.fp4": (0.08, 0.14),
    "bnb.fp4-dq": (0.08, 0.14),
}


def weight(*shape: int, seed: int = 0) -> Tensor:
    """Return weights whose columns differ in scale and mean."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.05
    return drawn * torch.linspace(0.5, 2, shape[1]) + torch.linspace(-0.05, 0.05, shape[1])


def layer(quantization: Quantization, *shape: int) -> Any:
    return QUANTIZED_LINEARS[quantization].from_weight(weight(*shape), quantization, None)


def bfloat16(numbers: Any) -> Any:
    """Return numbers rounded to bfloat16 on their bits: to the nearest, ties to even."""
    bits = np.asarray(numbers, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
    return rounded.astype(np.uint32).view(np.float32)


def test_every_quantization_has_a_layer() -> None:
    assert tuple(QUANTIZED_LINEARS) == QUANTIZATIONS


@pytest.mark.parametrize("shape", SHAPES)
def test_eight_bits_are_a_scale_for_each_row_and_the_nearest_code(shape: tuple[int, int]) -> None:
    weights = weight(*shape).numpy()
    scales = bfloat16(np.abs(weights).max(1) / np.float32(127))
    codes = np.rint(weights / scales[:, None])
    assert np.abs(codes).max() == 127
    np.testing.assert_array_equal(layer("int8", *shape).dequantize().numpy(), codes * scales[:, None])


@pytest.mark.parametrize("shape", SHAPES)
def test_four_bits_are_a_scale_and_a_zero_for_every_32_of_a_row(shape: tuple[int, int]) -> None:
    weights = weight(*shape).numpy()
    expected = np.empty_like(weights)
    for row in range(shape[0]):
        for start in range(0, shape[1], 32):
            group = weights[row, start : start + 32]
            low, high = min(group.min(), 0), max(group.max(), 0)
            if start + 32 > shape[1]:
                low, high = min(low, 0), max(high, 0)
            scale = bfloat16(np.float32(high - low) / np.float32(15))
            zero = bfloat16(np.float32(low) + 8 * scale)
            codes = np.clip(np.rint((group - zero) / scale) + 8, 0, 15)
            expected[row, start : start + 32] = (codes - 8) * scale + zero
    linear = layer("int4", *shape)
    np.testing.assert_allclose(linear.dequantize().numpy(), expected, rtol=0, atol=1e-8)


def test_four_bits_of_bitsandbytes_are_the_nearest_of_sixteen_numbers_times_a_blocks_largest() -> None:
    weights = weight(48, 80).numpy().reshape(-1, 64)
    linear = layer("bnb.nf4", 48, 80)
    table = linear.quant_map.numpy()
    absmax = np.abs(weights).max(1, keepdims=True)
    nearest = np.abs((weights / absmax)[..., None] - table).argmin(-1)
    np.testing.assert_allclose(
        linear.dequantize().numpy(), (table[nearest] * absmax).reshape(48, 80), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_each_format_has_the_error_of_its_bits(quantization: Quantization, shape: tuple[int, int]) -> None:
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    error = (
        QUANTIZED_LINEARS[quantization].from_weight(weights, quantization, None).dequantize() - weights
    ).norm() / weights.norm()
    least, most = ERRORS[quantization]
    assert least < error < most


@pytest.mark.parametrize(
    "quantization", [quantization for quantization in QUANTIZATIONS if not quantization.endswith("-dq")]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_quantization_is_idempotent(quantization: Quantization, shape: tuple[int, int]) -> None:
    once = layer(quantization, *shape).dequantize()
    second = QUANTIZED_LINEARS[quantization].from_weight(once, quantization, None).dequantize()
    torch.testing.assert_close(second, once, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("quantization", QUANTIZATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_layer_multiplies_by_its_dequantized_weight(
    quantization: Quantization, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    bias = torch.nn.Parameter(torch.linspace(-1, 1, shape[0], dtype=dtype), requires_grad=False)
    layer = QUANTIZED_LINEARS[quantization].from_weight(weight(*shape), quantization, bias)
    # In eight bits of bitsandbytes, activations are rounded too.
    tolerance = 2e-2 if quantization == "bnb.int8" or dtype != torch.float32 else 1e-5
    for rows in (1, 2, 8, 9, 17, 65):
        x = torch.randn(1, rows, shape[1], generator=torch.Generator().manual_seed(rows)).to(dtype)
        expected = functional.linear(x.float(), layer.dequantize(), bias.float())
        with torch.inference_mode():
            out = layer(x)
        assert (out.dtype, out.shape) == (dtype, expected.shape)
        assert (out.float() - expected).norm() < tolerance * expected.norm()


@pytest.mark.parametrize("kind", [Int8Linear, Int4Linear])
def test_rows_of_zeros_and_of_one_sign_are_quantized_too(kind: type[Int8Linear | Int4Linear]) -> None:
    weights = torch.zeros(3, 64)
    weights[1], weights[2] = torch.linspace(1, 2, 64), torch.linspace(-2, -1, 64)
    layer = kind.from_weight(weights, "int8" if kind is Int8Linear else "int4", None).dequantize()
    assert not layer[0].any()
    torch.testing.assert_close(layer, weights, rtol=0, atol=2 / 15 / 2 * 1.02)


def test_missing_bitsandbytes_is_reported_with_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    for quantization in ("bnb.nf4", "bnb.int8"):
        with pytest.raises(NotInstalled, match="pip install bitsandbytes"):
            layer(quantization, 16, 64)


def test_double_quantization_packs_the_scales_and_nothing_else() -> None:
    plain, packed = layer("bnb.nf4", 64, 96), layer("bnb.nf4-dq", 64, 96)
    assert isinstance(packed, Bnb4Linear)
    assert packed.absmax.dtype == torch.uint8
    torch.testing.assert_close(packed.codes, plain.codes)
    torch.testing.assert_close(packed.scales(), plain.scales(), rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("block_size", [2, 32, 64])
def test_packed_codes_are_contiguous_as_the_kernel_needs_them(block_size: int) -> None:
    codes = torch.arange(64 * 64, dtype=torch.uint8).view(64, 64) % 16
    packed = int4.pack(codes, block_size)
    assert packed.is_contiguous()
    assert torch.equal(int4.unpack(packed, block_size).transpose(1, 2).flatten(0, 1), codes)
