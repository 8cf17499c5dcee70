"""The gated delta rule and its convolution in the native engine against torch, with each instruction set."""

import ctypes

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from litgpt.adapters.pytorch.model.linear_attention.gated_delta_net import recurrent_gated_delta_rule
from tests.adapters.native.kernel_library import instruction_sets, kernel_library

Floats = NDArray[np.float32]
COLUMNS = 32
"""The columns of a block of the state."""


class CausalConv(ctypes.Structure):
    """`CausalConv` of kernels.h."""

    _fields_ = (
        ("x", ctypes.c_void_p),
        ("x_stride", ctypes.c_int64),
        ("state", ctypes.c_void_p),
        ("state_stride", ctypes.c_int64),
        ("weights", ctypes.c_void_p),
        ("weights_stride", ctypes.c_int64),
        ("bias", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("out_stride", ctypes.c_int64),
        ("tokens", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("activation", ctypes.c_int32),
    )


class DeltaRule(ctypes.Structure):
    """`DeltaRule` of kernels.h."""

    _fields_ = (
        ("q", ctypes.c_void_p),
        ("k", ctypes.c_void_p),
        ("v", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        ("beta", ctypes.c_void_p),
        ("decay", ctypes.c_void_p),
        ("gate_stride", ctypes.c_int64),
        ("out", ctypes.c_void_p),
        ("out_stride", ctypes.c_int64),
        ("state", ctypes.c_void_p),
        ("tokens", ctypes.c_int64),
        ("k_dim", ctypes.c_int64),
        ("columns", ctypes.c_int64),
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def random(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.standard_normal(shape).astype(np.float32)


def test_the_structures_are_those_of_the_header() -> None:
    library = kernel_library()
    assert library.test_causal_conv_bytes() == ctypes.sizeof(CausalConv)
    assert library.test_delta_rule_bytes() == ctypes.sizeof(DeltaRule)


@pytest.mark.parametrize("columns", [0, 1, 3, 7])
@pytest.mark.parametrize("channels", [1, 16, 37])
@pytest.mark.parametrize("tokens", [1, 2, 9])
@pytest.mark.parametrize("plain", [False, True])
def test_convolutions_agree_with_torch(
    tokens: int, channels: int, columns: int, rng: np.random.Generator, *, plain: bool
) -> None:
    """A plain convolution has a bias and no activation."""
    inputs = random(rng, columns + tokens, channels + 3)
    weights = random(rng, columns + 1, channels + 5)
    kernel = torch.from_numpy(weights[:, :channels].T[:, None].copy())
    signal = torch.from_numpy(inputs[:, :channels].T.copy())
    bias = random(rng, channels)
    if plain:
        expected = functional.conv1d(signal, kernel, torch.from_numpy(bias), groups=channels).T.numpy()
    else:
        expected = functional.silu(functional.conv1d(signal, kernel, groups=channels)).T.numpy()
    for name in instruction_sets():
        out = np.full((tokens, channels + 2), 7, dtype=np.float32)
        job = CausalConv(
            inputs[columns:].ctypes.data,
            channels + 3,
            inputs.ctypes.data,
            channels + 3,
            weights.ctypes.data,
            channels + 5,
            bias.ctypes.data if plain else None,
            out.ctypes.data,
            channels + 2,
            tokens,
            channels,
            columns,
            6 if plain else 0,
        )
        kernel_library().test_causal_conv(ctypes.byref(job))
        np.testing.assert_allclose(out[:, :channels], expected, rtol=1e-5, atol=1e-5, err_msg=name)
        assert (out[:, channels:] == 7).all()


def run_rule(parts: tuple[Floats, ...], gates: Floats, state: Floats, columns: int, split: int) -> Floats:
    """Return the output for all tokens, computed in calls of `split` tokens; the state changes in place."""
    queries, keys, values = parts
    out = np.full((len(values), columns + 3), 7, dtype=np.float32)
    for start in range(0, len(values), split):
        job = DeltaRule(
            *(part[start:].ctypes.data for part in parts),
            queries.strides[0] // 4,
            gates[start:].ctypes.data,
            gates[start:, 1:].ctypes.data,
            gates.shape[1],
            out[start:].ctypes.data,
            columns + 3,
            state.ctypes.data,
            min(split, len(values) - start),
            keys.shape[1],
            columns,
        )
        kernel_library().test_delta_rule(ctypes.byref(job))
    assert (out[:, columns:] == 7).all()
    return out[:, :columns]


@pytest.mark.parametrize("size", [1, 8, 50, 128])
@pytest.mark.parametrize("columns", [1, 12, 16, 29, 32])
def test_the_gated_delta_rule_agrees_with_torch(size: int, columns: int, rng: np.random.Generator) -> None:
    tokens = 21
    rows = random(rng, tokens, 2 * size + columns + 2)
    rows[:, : 2 * size] /= size**0.5
    parts = (rows[:, :size], rows[:, size : 2 * size], rows[:, 2 * size : 2 * size + columns])
    beta, log_decay = rng.uniform(size=tokens), -rng.exponential(size=tokens)
    gates = np.stack([beta, np.exp(log_decay), beta], 1).astype(np.float32)
    state = np.zeros((size, COLUMNS), dtype=np.float32)
    state[:, :columns] = random(rng, size, columns)
    queries, keys, values = (torch.from_numpy(part.astype(np.float64))[None, None] for part in parts)
    expected, last = recurrent_gated_delta_rule(
        queries,
        keys,
        values,
        torch.from_numpy(log_decay)[None, None],
        torch.from_numpy(gates[:, 0].astype(np.float64))[None, None],
        torch.from_numpy(state[:, :columns].astype(np.float64)),
    )
    for name in instruction_sets():
        after, whole = state.copy(), []
        for split in (tokens, 1, 4):
            after = state.copy()
            whole.append(run_rule(parts, gates, after, columns, split))
        np.testing.assert_array_equal(whole[0], whole[1])
        np.testing.assert_array_equal(whole[0], whole[2])
        np.testing.assert_allclose(whole[0], expected[0, 0], rtol=1e-4, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(after[:, :columns], last[0, 0], rtol=1e-4, atol=1e-5, err_msg=name)
        assert not after[:, columns:].any()
