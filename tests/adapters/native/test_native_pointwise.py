"""Norms, RoPE and activations of the native engine against torch, with each usable instruction set."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tests.adapters.native.kernel_library import (
    instruction_sets,
    int64,
    kernel_library,
    pointer,
)

Floats = NDArray[np.float32]
SIZES = (1, 3, 15, 16, 17, 33, 576, 4099)
ACTIVATIONS: tuple[Callable[[Tensor], Tensor], ...] = (
    functional.silu,
    functional.gelu,
    lambda x: functional.gelu(x, approximate="tanh"),
    functional.relu,
    lambda x: functional.relu(x).square(),
    torch.sigmoid,
    lambda x: x,
)
"""In the order of `Activation` in kernels.h."""


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def random(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.standard_normal(shape).astype(np.float32)


def results(function: str, arguments: Sequence[object], out: Floats) -> list[Floats]:
    """Return the output of a kernel of each instruction set; `out` has its initial values."""
    outs = []
    for _ in instruction_sets():
        outs.append(out.copy())
        getattr(kernel_library(), function)(
            *(
                pointer(outs[-1]) if argument is out else argument  # the buffer of this instruction set
                for argument in arguments
            )
        )
    return outs


def norm(
    kind: int,
    x: Floats,
    weight: Floats | None = None,
    bias: Floats | None = None,
    *,
    unit_offset: bool = False,
) -> list[Floats]:
    out, eps = np.empty_like(x), ctypes.c_float(1e-5)
    weights = (pointer(weight), pointer(bias), int(unit_offset))
    return results("test_norm", (kind, pointer(x), int64(x.size), eps, *weights, out), out)


def activate(kind: int, gate: Floats, up: Floats | None = None) -> list[Floats]:
    out = np.empty_like(gate)
    return results("test_activate", (kind, pointer(gate), pointer(up), int64(gate.size), out), out)


def assert_close(
    outs: list[Floats], expected: Tensor | NDArray[Any], relative: float = 1e-6, absolute: float = 0.0
) -> None:
    for out in outs:
        np.testing.assert_allclose(out, np.asarray(expected), rtol=relative, atol=absolute)


@pytest.mark.parametrize("size", SIZES)
def test_norms_are_those_of_torch(rng: np.random.Generator, size: int) -> None:
    x, weight, bias = random(rng, size) * 3 + 5, random(rng, size), random(rng, size)
    torch_x, torch_weight, torch_bias = map(torch.from_numpy, (x, weight, bias))
    rms = functional.rms_norm(torch_x, (size,), eps=1e-5)
    assert_close(norm(0, x), rms)
    assert_close(norm(0, x, weight), functional.rms_norm(torch_x, (size,), torch_weight, 1e-5))
    assert_close(
        norm(0, x, weight, bias, unit_offset=True), rms * (1 + torch_weight) + torch_bias, 1e-6, 1e-6
    )
    expected = functional.layer_norm(
        torch_x.double(), (size,), torch_weight.double(), torch_bias.double(), 1e-5
    )
    assert_close(norm(1, x, weight, bias), expected, 1e-6, 2e-6)


@pytest.mark.parametrize("kind", range(len(ACTIVATIONS)))
def test_activations_are_those_of_torch(rng: np.random.Generator, kind: int) -> None:
    for size in SIZES:
        gate, up = random(rng, size) * 4, random(rng, size)
        expected = ACTIVATIONS[kind](torch.from_numpy(gate).double()).numpy()
        assert_close(activate(kind, gate), expected, 2e-6, 2e-7)
        assert_close(activate(kind, gate, up), expected * up, 2e-6, 5e-7)


@pytest.mark.parametrize("kind", range(len(ACTIVATIONS)))
def test_activations_of_extreme_values(kind: int) -> None:
    x = np.array([0.0, 1e-30, -1e-8, 30.0, -30.0, 200.0, -200.0, 1e15, -1e15, np.inf, np.nan], np.float32)
    # In float64, because the float32 GELU of torch is NaN for infinity on processors with AVX-512.
    expected = ACTIVATIONS[kind](torch.from_numpy(x).double()).float()
    assert_close(activate(kind, x), expected, 2e-6, 1e-9)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("pairs", [1, 5, 16, 32, 40])
def test_rope_rotates_pairs_of_each_head(rng: np.random.Generator, pairs: int, *, interleaved: bool) -> None:
    heads, stride = 3, 2 * pairs + 7
    x, angles = random(rng, heads, stride), random(rng, pairs)
    cos, sin = np.cos(angles), np.sin(angles)
    rotated = x[:, : 2 * pairs]
    halves = (rotated[:, ::2], rotated[:, 1::2]) if interleaved else (rotated[:, :pairs], rotated[:, pairs:])
    values = (halves[0] + 1j * halves[1]) * (cos + 1j * sin)
    expected = x.copy()
    step, second = (2, 1) if interleaved else (1, pairs)
    expected[:, : 2 * pairs : step][:, :pairs] = values.real
    expected[:, second : 2 * pairs : step] = values.imag
    arguments = (x, int64(heads), int64(stride), int64(pairs), pointer(cos), pointer(sin), int(interleaved))
    assert_close(results("test_rope", arguments, x), expected, 1e-6, 1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_a_multiple_is_added(rng: np.random.Generator, size: int) -> None:
    x, y = random(rng, size), random(rng, size)
    arguments = (pointer(x), int64(size), ctypes.c_float(0.7), y)
    assert_close(results("test_add", arguments, y), y + np.float32(0.7) * x, 1e-6, 1e-6)
