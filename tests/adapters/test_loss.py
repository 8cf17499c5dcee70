"""Tests of the chunked linear cross-entropy: torch's values, with bounded memory."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from litgpt.adapters.pytorch.model import loss
from litgpt.adapters.pytorch.ops.linear import Linear
from litgpt.domain.errors import InvalidArgument

ROWS, WIDTH, VOCABULARY = 50, 12, 64
SCALE, CAP = 0.5, 3.0


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "LOGITS_CHUNK", 7 * VOCABULARY)


@pytest.fixture
def targets() -> Tensor:
    return torch.arange(ROWS).mul(5).remainder(VOCABULARY).masked_fill(torch.arange(ROWS) % 4 == 1, -100)


def head(bias: bool, dtype: torch.dtype = torch.float32) -> Linear:  # noqa: FBT001
    layer = Linear(WIDTH, VOCABULARY, bias=bias, dtype=dtype)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


def hidden(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(ROWS, WIDTH, dtype=dtype).requires_grad_()


def with_gradients(value: Tensor, *of: Tensor) -> tuple[Tensor, ...]:
    return value, *torch.autograd.grad(value * 3, of)  # the incoming gradient is multiplied in


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("scale", "cap"), [(None, None), (SCALE, CAP)])
def test_head_and_loss_together_are_torchs_one_after_the_other(
    targets: Tensor,
    bias: bool,  # noqa: FBT001
    scale: float | None,
    cap: float | None,
) -> None:
    x, layer = hidden(), head(bias)
    learned = (x, *layer.parameters())
    logits = layer(x) * (scale or 1.0)
    logits = logits if cap is None else (logits / cap).tanh() * cap
    expected = with_gradients(functional.cross_entropy(logits, targets), *learned)
    actual = with_gradients(loss.linear_cross_entropy(x, layer, targets, scale=scale, softcap=cap), *learned)
    torch.testing.assert_close(actual, expected)


def test_a_head_with_additional_operations_is_called(targets: Tensor) -> None:
    x, layer = hidden(), head(bias=False)
    expected = with_gradients(functional.cross_entropy(2 * layer(x), targets), x, layer.weight)
    layer.register_forward_hook(lambda _, __, out: 2 * out)
    actual = with_gradients(loss.linear_cross_entropy(x, layer, targets), x, layer.weight)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_logits_of_any_dtype_are_compared_in_float32(targets: Tensor, dtype: torch.dtype) -> None:
    logits = torch.randn(ROWS, VOCABULARY, dtype=dtype).requires_grad_()
    expected = with_gradients(functional.cross_entropy(logits.float(), targets), logits)
    before = logits.detach().clone()
    torch.testing.assert_close(with_gradients(loss.cross_entropy(logits, targets), logits), expected)
    assert torch.equal(logits, before)  # the caller's are not worked in


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_has_gradients_in_the_weights_dtype(targets: Tensor, dtype: torch.dtype) -> None:
    x, layer = hidden(), head(bias=True)
    expected = with_gradients(functional.cross_entropy(layer(x), targets), x, *layer.parameters())
    with torch.autocast("cpu", dtype):
        value = loss.linear_cross_entropy(x, layer, targets)
    actual = with_gradients(value, x, *layer.parameters())
    assert [value.dtype for value in actual] == [torch.float32] * 4
    torch.testing.assert_close(actual, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_of_half_the_bits_learn_too(targets: Tensor, dtype: torch.dtype) -> None:
    x, layer = hidden(dtype), head(bias=False, dtype=dtype)
    expected = with_gradients(functional.cross_entropy(layer(x).float(), targets), x, layer.weight)
    actual = with_gradients(loss.linear_cross_entropy(x, layer, targets), x, layer.weight)
    torch.testing.assert_close(actual, expected, rtol=0.05, atol=0.02)


class Largest(TorchDispatchMode):
    """Records the largest tensor that an operator returned."""

    numbers = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        del types
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(value, Tensor):
                self.numbers = max(self.numbers, value.numel())
        return out


def test_no_more_than_a_block_of_logits_exists_at_a_time(targets: Tensor) -> None:
    x, layer = hidden(), head(bias=False)
    with Largest() as largest:  # type: ignore[no-untyped-call]
        loss.linear_cross_entropy(x, layer, targets).backward()
    assert largest.numbers <= max(7 * VOCABULARY, layer.weight.numel())
    assert largest.numbers < ROWS * VOCABULARY


def test_weights_that_do_not_learn_cost_nothing(targets: Tensor) -> None:
    x, layer = hidden(), head(bias=True)
    layer.requires_grad_(False)
    loss.linear_cross_entropy(x, layer, targets).backward()
    assert layer.weight.grad is None
    assert x.grad is not None


def test_no_target_tokens_is_an_error_instead_of_nan() -> None:
    nothing = torch.full((ROWS,), -100)
    with pytest.raises(InvalidArgument, match="at least one after the first token is not -100"):
        loss.linear_cross_entropy(hidden(), head(bias=False), nothing)
    with pytest.raises(InvalidArgument, match="at least one after the first token is not -100"):
        loss.cross_entropy(torch.randn(ROWS, VOCABULARY), nothing)


def test_a_sum_is_torchs_sum_and_over_nothing_it_is_zero(targets: Tensor) -> None:
    x, layer = hidden(), head(bias=True)
    learned = (x, *layer.parameters())
    logits = layer(x)
    expected = with_gradients(functional.cross_entropy(logits, targets, reduction="sum"), *learned)
    for value in (
        loss.linear_cross_entropy(x, layer, targets, reduction="sum"),
        loss.cross_entropy(layer(x), targets, "sum"),
    ):
        torch.testing.assert_close(with_gradients(value, *learned), expected)
    nothing = torch.full((ROWS,), -100)
    for gradient in with_gradients(loss.linear_cross_entropy(x, layer, nothing, reduction="sum"), *learned):
        assert not gradient.any()


def test_a_second_backward_raises(targets: Tensor) -> None:
    x, layer = hidden(), head(bias=False)
    value = loss.linear_cross_entropy(x, layer, targets)
    value.backward()
    with pytest.raises(RuntimeError, match="a second time"):
        value.backward()
