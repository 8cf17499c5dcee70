"""Tests of matrix products in another dtype than the weights', for CPUs without bfloat16 instructions."""

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from litgpt.adapters.pytorch.model.loss import linear_cross_entropy
from litgpt.adapters.pytorch.ops import blockwise_matmul
from litgpt.adapters.pytorch.ops import linear as module
from litgpt.adapters.pytorch.ops.linear import Linear
from litgpt.adapters.pytorch.quantization.registry import QUANTIZED_LINEARS
from litgpt.adapters.pytorch.runtime import cpu_features
from litgpt.domain.quantization import QUANTIZATIONS, Quantization
from tests.adapters.test_quantized_layers import weight

OLD, NEW = frozenset({"avx2"}), frozenset({"avx2", "avx512f", "avx512_bf16", "avx512_fp16"})
HALVES = [torch.bfloat16, torch.float16]


@pytest.fixture
def processor_has(monkeypatch: pytest.MonkeyPatch) -> Callable[[frozenset[str]], None]:
    """Return a function that sets the processor's features."""
    return lambda features: monkeypatch.setattr(cpu_features, "cpu_features", lambda: features)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blockwise_matmul, "_BLOCK_NUMEL", 64 * 24)


def linear(dtype: torch.dtype, *, bias: bool = True) -> Linear:
    layer = Linear(24, 200, bias=bias, dtype=dtype)
    drawn = torch.Generator().manual_seed(1)
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=drawn).to(dtype)
    return layer


def rows(count: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(2, count, 24, generator=torch.Generator().manual_seed(count)).to(dtype)


def calls(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """Return a list to which the dtype of every subsequent matrix product is appended."""
    seen: list[torch.dtype] = []
    real = functional.linear

    def noted(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        seen.append(w.dtype)
        return real(x, w, b)

    monkeypatch.setattr(functional, "linear", noted)
    return seen


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(
    ("features", "count", "expected"),
    [(OLD, 1, None), (OLD, 2, torch.float32), (OLD, 30, torch.float32), (NEW, 30, None)],
)
def test_many_rows_are_multiplied_in_float32_without_instructions(
    features: frozenset[str],
    count: int,
    expected: torch.dtype | None,
    dtype: torch.dtype,
    processor_has: Callable[[frozenset[str]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer, x = linear(dtype), rows(count, dtype)
    processor_has(features)
    seen = calls(monkeypatch)
    with torch.inference_mode():
        out = layer(x)
    assert set(seen) == {expected or dtype}
    exact = functional.linear(x.float(), layer.weight.float(), layer.bias.float())
    torch.testing.assert_close(out, exact.to(dtype), rtol=2**-7, atol=1e-2)
    if expected is not None:  # rounded once, at the end
        assert torch.equal(out, exact.to(dtype))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_are_those_of_float32_rounded_once(
    *, bias: bool, autocast: bool, processor_has: Callable[[frozenset[str]], None]
) -> None:
    stored = torch.float32 if autocast else torch.bfloat16
    layer = linear(torch.bfloat16, bias=bias).to(stored)
    x = rows(9, torch.bfloat16).to(stored).requires_grad_()
    pull = torch.randn(2, 9, 200, generator=torch.Generator().manual_seed(5)).bfloat16()
    processor_has(OLD)
    with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
        out = layer(x)
    assert out.dtype == torch.bfloat16
    out.backward(pull)
    exact = [x.detach().double().requires_grad_()]
    exact += [parameter.detach().double().requires_grad_() for parameter in layer.parameters()]
    functional.linear(*exact).backward(pull.double())
    for actual, expected in zip([x, *layer.parameters()], exact, strict=True):
        assert actual.grad is not None
        assert actual.grad.dtype == stored
        assert expected.grad is not None
        torch.testing.assert_close(actual.grad.double(), expected.grad, rtol=2**-8, atol=1e-4)


def test_a_layers_output_supports_in_place_addition(processor_has: Callable[[frozenset[str]], None]) -> None:
    processor_has(OLD)
    for layer in (
        linear(torch.bfloat16),
        QUANTIZED_LINEARS["int8"].from_weight(weight(200, 24), "int8", None),
    ):
        x = rows(9, torch.bfloat16).requires_grad_()
        out = layer(x)
        out[..., 3:50].add_(x.sum(-1, keepdim=True))
        out.sum().backward()
        assert x.grad is not None


def test_no_more_than_a_block_of_the_weight_is_converted_at_once(
    processor_has: Callable[[frozenset[str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, largest = linear(torch.bfloat16), 0
    real = blockwise_matmul.row_converter

    def noted(w: Tensor, dtype: torch.dtype) -> blockwise_matmul.WeightRows:
        def read(block: slice) -> Tensor:
            nonlocal largest
            actual = real(w, dtype)(block)
            largest = max(largest, actual.numel())
            return actual

        return read

    monkeypatch.setattr(blockwise_matmul, "row_converter", noted)
    processor_has(OLD)
    layer(rows(30, torch.bfloat16).requires_grad_()).sum().backward()
    assert largest == 64 * 24


@pytest.mark.parametrize("dtype", HALVES)
def test_the_loss_of_a_head_is_multiplied_so_too(
    dtype: torch.dtype, processor_has: Callable[[frozenset[str]], None]
) -> None:
    layer, hidden = linear(dtype), rows(20, dtype)[0].requires_grad_()
    targets = torch.arange(20)
    processor_has(OLD)
    loss = linear_cross_entropy(hidden, layer, targets, scale=0.5, softcap=20.0)
    loss.backward()
    exact = [value.detach().double().requires_grad_() for value in (hidden, layer.weight, layer.bias)]
    logits = (functional.linear(*exact) * 0.5 / 20).tanh() * 20
    expected = functional.cross_entropy(logits, targets)
    expected.backward()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)
    for actual, value in zip((hidden, layer.weight, layer.bias), exact, strict=True):
        assert actual.grad is not None
        torch.testing.assert_close(actual.grad.double(), value.grad, rtol=2**-7, atol=1e-4)


@pytest.mark.parametrize("features", [OLD, NEW, frozenset()], ids=["avx2", "bf16", "neither"])
@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_quantized_layers_agree_in_every_arithmetic(
    quantization: Quantization, features: frozenset[str], processor_has: Callable[[frozenset[str]], None]
) -> None:
    layer = QUANTIZED_LINEARS[quantization].from_weight(weight(128, 96), quantization, None)
    processor_has(features)
    for dtype in (torch.float32, torch.bfloat16):
        for count in (1, 9, 70):
            x = torch.randn(count, 96, generator=torch.Generator().manual_seed(count)).to(dtype)
            exact = functional.linear(x.float(), layer.dequantize())
            with torch.no_grad():
                out = layer(x)
            tolerance = 2e-2 if quantization == "bnb.int8" or dtype == torch.bfloat16 else 1e-5
            assert (out.float() - exact).norm() < tolerance * exact.norm()
            x.requires_grad_()
            layer(x).sum().backward()
            assert x.grad is not None
            expected = layer.dequantize().sum(0).expand(count, -1)
            assert (x.grad.float() - expected).norm() < 1e-2 * expected.norm()


X86 = "processor\t: 0\nflags\t\t: avx2 bmi1 avx512f avx512_bf16 amx_bf16\nbugs\t: none\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd fphp asimdhp i8mm bf16\nCPU part\t: 0xd0c\n"
APPLE = "hw.optional.arm.FEAT_BF16: 1\nhw.optional.arm.FEAT_FP16: 1\nhw.optional.arm.FEAT_SME: 0\n"


def test_cpu_features_are_read_from_system_reports() -> None:
    assert cpu_features.linux_features(X86) == {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}
    assert cpu_features.linux_features(ARM) == {"neon_fp16", "neon_bf16", "neon_i8mm"}
    assert cpu_features.linux_features("nothing: known\n") == frozenset()
    assert cpu_features.apple_features(APPLE) == {"neon_bf16", "neon_fp16"}
    assert cpu_features.apple_features(APPLE.replace("FEAT_BF16: 1", "FEAT_BF16: 0")) == {"neon_fp16"}


def test_torch_and_the_system_agree_about_this_processor() -> None:
    here = cpu_features.cpu_features()
    assert ("avx2" in here) == torch.cpu._is_avx2_supported()
    assert module.matmul_plan_for("float32", torch.float32).max_small_rows is None
