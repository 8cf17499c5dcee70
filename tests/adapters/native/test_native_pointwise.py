"""Norms, RoPE and activations of the native engine against torch, with each instruction set that runs here."""

import ctypes
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tests.adapters.native.kernel_library import (
    INSTRUCTION_SETS,
    VARIABLE,
    int64,
    is_available,
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
)
"""In the order of `Activation` in kernels.h."""


@pytest.fixture(params=INSTRUCTION_SETS)
def rng(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> np.random.Generator:
    monkeypatch.setenv(VARIABLE, request.param)
    if not is_available(request.param):
        pytest.skip(f"This processor does not run {request.param}.")
    return np.random.default_rng(0)


def random(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.standard_normal(shape).astype(np.float32)


def norm(
    kind: int, x: Floats, weight: Floats | None = None, bias: Floats | None = None, *, unit_offset: bool = False
) -> Floats:
    out = np.empty_like(x)
    kernel_library().test_norm(
        kind,
        pointer(x),
        int64(x.size),
        ctypes.c_float(1e-5),
        pointer(weight),
        pointer(bias),
        int(unit_offset),
        pointer(out),
    )
    return out


def activate(kind: int, gate: Floats, up: Floats | None = None) -> Floats:
    out = np.empty_like(gate)
    kernel_library().test_activate(kind, pointer(gate), pointer(up), int64(gate.size), pointer(out))
    return out


def assert_close(actual: Floats, expected: Tensor, relative: float = 1e-6) -> None:
    scale = max(1e-30, float(expected.abs().max()))
    np.testing.assert_allclose(actual, expected.numpy(), rtol=0, atol=relative * scale)


@pytest.mark.parametrize("size", SIZES)
def test_norms_are_those_of_torch(rng: np.random.Generator, size: int) -> None:
    x, weight, bias = random(rng, size) * 3 + 5, random(rng, size), random(rng, size)
    torch_x, torch_weight, torch_bias = map(torch.from_numpy, (x, weight, bias))
    rms = functional.rms_norm(torch_x, (size,), eps=1e-5)
    assert_close(norm(0, x), rms)
    assert_close(norm(0, x, weight), functional.rms_norm(torch_x, (size,), torch_weight, 1e-5))
    assert_close(norm(0, x, weight, bias, unit_offset=True), rms * (1 + torch_weight) + torch_bias)
    centered = torch_x.double()
    layer = functional.layer_norm(centered, (size,), torch_weight.double(), torch_bias.double(), 1e-5)
    assert_close(norm(1, x, weight, bias), layer.float(), 2e-6)


@pytest.mark.parametrize("kind", range(len(ACTIVATIONS)))
def test_activations_are_those_of_torch(rng: np.random.Generator, kind: int) -> None:
    for size in SIZES:
        gate, up = random(rng, size) * 4, random(rng, size)
        expected = ACTIVATIONS[kind](torch.from_numpy(gate).double()).numpy()
        np.testing.assert_allclose(activate(kind, gate), expected, rtol=2e-6, atol=2e-7)
        np.testing.assert_allclose(activate(kind, gate, up), expected * up, rtol=2e-6, atol=5e-7)


@pytest.mark.parametrize("kind", range(len(ACTIVATIONS)))
def test_activations_of_extreme_values(rng: np.random.Generator, kind: int) -> None:
    del rng
    x = np.array([0.0, 1e-30, -1e-8, 30.0, -30.0, 200.0, -200.0, 1e15, -1e15, np.inf, np.nan], np.float32)
    expected = ACTIVATIONS[kind](torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(activate(kind, x), expected, rtol=2e-6, atol=1e-9)


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
    first, second = (slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)) if interleaved else (
        slice(pairs),
        slice(pairs, 2 * pairs),
    )
    expected[:, first], expected[:, second] = values.real, values.imag
    kernel_library().test_rope(
        pointer(x), int64(heads), int64(stride), int64(pairs), pointer(cos), pointer(sin), int(interleaved)
    )
    np.testing.assert_allclose(x, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_a_multiple_is_added(rng: np.random.Generator, size: int) -> None:
    x, y = random(rng, size), random(rng, size)
    expected = y + np.float32(0.7) * x
    kernel_library().test_add(pointer(x), int64(size), ctypes.c_float(0.7), pointer(y))
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)
