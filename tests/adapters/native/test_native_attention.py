"""Attention over pages of the KV cache against numpy in float64, with each usable instruction set."""

import ctypes
import math
from typing import Any

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.adapters.native.kernel_library import (
    BFLOAT16,
    FLOAT32,
    PAGE,
    instruction_sets,
    int64,
    kernel_library,
    pointer,
    to_bfloat16,
)

Floats = NDArray[np.float32]
SPAN = 512
"""`kSpanPositions` of kernels.h."""


class Job(ctypes.Structure):
    """`Attention` of kernels.h."""

    _fields_ = (
        ("q", ctypes.c_void_p),
        ("q_stride", ctypes.c_int64),
        ("out", ctypes.c_void_p),
        ("out_stride", ctypes.c_int64),
        ("first_position", ctypes.c_int64),
        ("tokens", ctypes.c_int32),
        ("heads", ctypes.c_int32),
        ("k_dim", ctypes.c_int32),
        ("v_dim", ctypes.c_int32),
        ("k_pages", ctypes.c_void_p),
        ("v_pages", ctypes.c_void_p),
        ("element", ctypes.c_int32),
        ("scale", ctypes.c_float),
        ("softcap", ctypes.c_float),
        ("window", ctypes.c_int64),
        ("chunked", ctypes.c_bool),
        ("sinks", ctypes.c_void_p),
        ("slopes", ctypes.c_void_p),
        ("rounded_slopes", ctypes.c_float),
    )


@attrs.frozen(eq=False)
class Case:
    """Queries (T, H, K), and the keys (S, K) and values (S, V) of the S - T tokens before and of these."""

    q: Floats
    k: Floats
    v: Floats
    element: int = FLOAT32
    softcap: float = 0.0
    window: int = 0
    chunked: bool = False
    sinks: Floats | None = None
    slopes: Floats | None = None
    rounded_slopes: float = 0.0

    @property
    def first(self) -> int:
        return len(self.k) - len(self.q)

    def oldest(self, position: int) -> int:
        if self.chunked:
            return position // self.window * self.window
        return max(0, position - self.window + 1) if self.window else 0

    def expected(self) -> NDArray[np.float64]:
        k, v = (to_bfloat16(x) if self.element == BFLOAT16 else x for x in (self.k, self.v))
        out = np.empty((*self.q.shape[:2], v.shape[1]))
        for token, position in enumerate(range(self.first, len(k))):
            seen = slice(self.oldest(position), position + 1)
            distances = np.arange(seen.start, seen.stop) - position
            scores = self.q[token].astype(np.float64) @ k[seen].T * self.q.shape[-1] ** -0.5
            if self.softcap:
                scores = np.tanh(scores / self.softcap) * self.softcap
            if self.slopes is not None and self.rounded_slopes:
                positions = np.arange(seen.start, seen.stop, dtype=np.float32)
                biases = to_bfloat16(to_bfloat16(self.slopes)[:, None] * to_bfloat16(positions))
                scores = scores + self.rounded_slopes * biases
            elif self.slopes is not None:
                scores = scores + self.slopes[:, None] * distances
            sinks = np.full(len(scores), -np.inf) if self.sinks is None else self.sinks
            largest = np.maximum(scores.max(-1), sinks)[:, None]
            weights = np.exp(scores - largest)
            out[token] = weights @ v[seen] / (weights.sum(-1) + np.exp(sinks - largest[:, 0]))[:, None]
        return out


class Pages:
    """The pages of one head. Empty slots, and pages that no token of the case sees, are NaN."""

    def __init__(self, case: Case) -> None:
        positions, k_dim = case.k.shape
        self.case, count = case, -(-positions // PAGE)
        dtype, nan = (np.float32, np.nan) if case.element == FLOAT32 else (np.uint16, 0x7FC0)
        self.keys = np.full((count, k_dim, PAGE), nan, dtype)
        self.values = np.full((count, PAGE, case.v.shape[1]), nan, dtype)
        for position in range(case.oldest(case.first) // PAGE * PAGE, positions):
            page, slot = divmod(position, PAGE)
            kernel_library().test_store_kv(
                case.element,
                pointer(case.k[position]),
                pointer(case.v[position]),
                int64(k_dim),
                int64(case.v.shape[1]),
                int64(slot),
                pointer(self.keys[page]),
                pointer(self.values[page]),
            )

    def attend(self, first: int, last: int, *, in_parts: bool = False) -> Floats:
        """Return the result for tokens `first` to `last` of the case, computed as one block.

        `in_parts`: in spans of positions, which are merged afterwards.
        """
        case = self.case
        q = np.ascontiguousarray(case.q[first:last])
        tokens, heads, k_dim = q.shape
        v_dim = case.v.shape[1]
        out = np.full((tokens, heads, v_dim), np.nan, np.float32)
        addresses = [_addresses(pages) for pages in (self.keys, self.values)]
        job = Job(
            q.ctypes.data,
            heads * k_dim,
            out.ctypes.data,
            heads * v_dim,
            case.first + first,
            tokens,
            heads,
            k_dim,
            v_dim,
            addresses[0].ctypes.data,
            addresses[1].ctypes.data,
            case.element,
            k_dim**-0.5,
            case.softcap,
            case.window,
            case.chunked,
            pointer(case.sinks),
            pointer(case.slopes),
            case.rounded_slopes,
        )
        if in_parts:
            spans = len(case.k) // SPAN + 1
            partials = np.empty(spans * out.shape[0] * heads * (v_dim + 2), np.float32)
            kernel_library().test_attend_parts(ctypes.byref(job), int64(spans), pointer(partials))
        else:
            kernel_library().test_attend(ctypes.byref(job))
        return out


def _addresses(pages: NDArray[Any]) -> NDArray[np.uint64]:
    return np.array([page.ctypes.data for page in pages], np.uint64)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def random_case(
    rng: np.random.Generator,
    before: int,
    tokens: int,
    heads: int = 3,
    dims: tuple[int, int] = (16, 16),
    **options: Any,
) -> Case:
    q, k, v = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in (
            (tokens, heads, dims[0]),
            (before + tokens, dims[0]),
            (before + tokens, dims[1]),
        )
    )
    return Case(q, k, v, **options)


def check(case: Case) -> None:
    """The result is that of numpy, and has the same bits for any block of tokens."""
    expected, tokens = case.expected(), len(case.q)
    for name in instruction_sets():
        pages = Pages(case)
        whole = pages.attend(0, tokens)
        np.testing.assert_allclose(whole, expected, rtol=1e-5, atol=3e-6, err_msg=name)
        for size in {1, 5, tokens // 2 + 1}:
            parts = [pages.attend(at, min(at + size, tokens)) for at in range(0, tokens, size)]
            np.testing.assert_array_equal(np.concatenate(parts).view(np.uint32), whole.view(np.uint32))
        merged = pages.attend(0, tokens, in_parts=True)
        np.testing.assert_array_equal(merged.view(np.uint32), whole.view(np.uint32))


@pytest.mark.parametrize("element", [FLOAT32, BFLOAT16])
@pytest.mark.parametrize("heads", [1, 2, 3, 5, 6, 8, 13])
def test_any_number_of_heads_shares_the_keys(rng: np.random.Generator, heads: int, element: int) -> None:
    check(random_case(rng, 40, 9, heads, element=element))


@pytest.mark.parametrize("element", [FLOAT32, BFLOAT16])
@pytest.mark.parametrize("dims", [(1, 1), (7, 9), (16, 33), (80, 15), (64, 64), (31, 128), (576, 512)])
def test_heads_of_any_size(rng: np.random.Generator, dims: tuple[int, int], element: int) -> None:
    check(random_case(rng, 33, 4, 3, dims, element=element))


@pytest.mark.parametrize("element", [FLOAT32, BFLOAT16])
@pytest.mark.parametrize("before", [0, 1, 31, 32, 100, 127, 128, 511, 512, 1300])
def test_any_number_of_earlier_tokens(rng: np.random.Generator, before: int, element: int) -> None:
    check(random_case(rng, before, 3, element=element))


@pytest.mark.parametrize("tokens", [1, 2, 31, 32, 33, 70, 200])
def test_any_number_of_new_tokens(rng: np.random.Generator, tokens: int) -> None:
    check(random_case(rng, 20, tokens, 2))


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("window", [1, 2, 31, 32, 33, 64, 100, 130, 700])
def test_windows_and_chunks(rng: np.random.Generator, window: int, *, chunked: bool) -> None:
    for before in (0, 5, 150, 640):
        check(random_case(rng, before, 40, 2, window=window, chunked=chunked))


@pytest.mark.parametrize("softcap", [1.0, 50.0])
@pytest.mark.parametrize("element", [FLOAT32, BFLOAT16])
def test_scores_are_capped(rng: np.random.Generator, softcap: float, element: int) -> None:
    check(random_case(rng, 50, 20, softcap=softcap, element=element))


def test_sinks_take_a_part_of_the_weights(rng: np.random.Generator) -> None:
    sinks = np.array([-30.0, 0.5, 90.0], np.float32)  # without effect, part, and nearly all
    check(random_case(rng, 50, 20, sinks=sinks))
    check(random_case(rng, 550, 20, sinks=sinks, window=40))


def test_alibi_lowers_the_scores_of_distant_keys(rng: np.random.Generator) -> None:
    slopes = np.array([0.5, 0.01, 2.0], np.float32)
    check(random_case(rng, 1000, 20, slopes=slopes))


def test_alibi_is_rounded_as_in_training(rng: np.random.Generator) -> None:
    slopes = np.array([0.7, 0.01, 0.001], np.float32)
    check(random_case(rng, 1000, 20, slopes=slopes, rounded_slopes=0.25))


def test_all_options_together(rng: np.random.Generator) -> None:
    options = {
        "softcap": 5.0,
        "window": 77,
        "sinks": rng.standard_normal(7).astype(np.float32),
        "slopes": rng.random(7).astype(np.float32),
        "element": BFLOAT16,
    }
    for chunked in (False, True):
        check(random_case(rng, 600, 50, 7, (20, 12), chunked=chunked, **options))


def test_large_scores_do_not_overflow(rng: np.random.Generator) -> None:
    case = random_case(rng, 300, 3)
    large = attrs.evolve(case, q=case.q * np.float32(1e4))
    for _ in instruction_sets():
        np.testing.assert_allclose(Pages(large).attend(0, 3), large.expected(), rtol=1e-4, atol=1e-4)


def test_nan_of_one_token_stays_there(rng: np.random.Generator) -> None:
    case = random_case(rng, 10, 4)
    case.q[2] = math.nan
    for _ in instruction_sets():
        out = Pages(case).attend(0, 4)
        assert np.isnan(out[2]).all()
        assert np.isfinite(out[[0, 1, 3]]).all()
