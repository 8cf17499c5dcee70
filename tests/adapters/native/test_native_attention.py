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
    INT8,
    PAGE,
    instruction_sets,
    int64,
    kernel_library,
    pointer,
    to_bfloat16,
)

Floats = NDArray[np.float32]
ELEMENTS = (FLOAT32, BFLOAT16, INT8)
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

    def rounds_products(self, instruction_set: str) -> bool:
        """Whether queries and weights are rounded to bfloat16: see `fits_tiles` of kernels.h."""
        fits = self.k.shape[1] % 32 == 0 and self.v.shape[1] % 16 == 0
        return instruction_set == "amx" and self.element == BFLOAT16 and fits

    def expected(self, *, rounds_products: bool = False) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the result, and how far it may be off because the weights are rounded."""
        k, v = (_stored(x, self.element) for x in (self.k, self.v))
        q = self.q * np.float32(self.q.shape[-1] ** -0.5)
        q = (to_bfloat16(q) if rounds_products else q).astype(np.float64)
        out = np.empty((*self.q.shape[:2], v.shape[1]))
        error = np.zeros_like(out)
        for token, position in enumerate(range(self.first, len(k))):
            seen = slice(self.oldest(position), position + 1)
            distances = np.arange(seen.start, seen.stop) - position
            scores = q[token] @ k[seen].T
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
            total = (weights.sum(-1) + np.exp(sinks - largest[:, 0]))[:, None]
            out[token] = weights @ v[seen] / total
            if rounds_products:  # to 8 significant bits
                error[token] = 2**-8 * (weights @ np.abs(v[seen]) / total)
        return out, error


class Pages:
    """The pages of one head. Empty slots, and pages that no token of the case sees, are NaN."""

    def __init__(self, case: Case) -> None:
        positions, k_dim = case.k.shape
        self.case, count = case, -(-positions // PAGE)
        # All ones are NaN in float32 and bfloat16; in int8, the scales are.
        self.keys, self.values = (
            np.full((count, page_bytes(case.element, dim)), 0xFF, np.uint8)
            for dim in (k_dim, case.v.shape[1])
        )
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


def page_bytes(element: int, dim: int) -> int:
    """Return the bytes of the keys or values of a head in a page: `kv_bytes` of kernels.h."""
    if element == INT8:
        return -(-(dim + 4) * PAGE // 64) * 64  # codes and a float32 scale, in whole cache lines
    return dim * PAGE * (4 if element == FLOAT32 else 2)


def to_int8(x: Floats) -> Floats:
    """Round each vector (positions, dim) to multiples of 1/127 of its largest absolute value."""
    largest = np.abs(x).max(-1, keepdims=True)
    rounded: Floats = np.rint(x * (np.float32(127) / largest)) * (largest / np.float32(127))
    return rounded


def _stored(x: Floats, element: int) -> Floats:
    if element == FLOAT32:
        return x
    return to_int8(x) if element == INT8 else to_bfloat16(x)


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
    tokens = len(case.q)
    exact = case.expected()
    for name in instruction_sets():
        is_rounded = case.rounds_products(name)
        expected, error = case.expected(rounds_products=True) if is_rounded else exact
        pages = Pages(case)
        whole = pages.attend(0, tokens)
        excess = np.maximum(np.abs(whole - expected) - error, 0) + 0 * whole  # NaN is not hidden
        np.testing.assert_allclose(excess, 0, atol=3e-6 + 1e-5 * np.abs(expected).max(), err_msg=name)
        for size in {1, 5, tokens // 2 + 1}:
            parts = [pages.attend(at, min(at + size, tokens)) for at in range(0, tokens, size)]
            np.testing.assert_array_equal(np.concatenate(parts).view(np.uint32), whole.view(np.uint32))
        merged = pages.attend(0, tokens, in_parts=True)
        np.testing.assert_array_equal(merged.view(np.uint32), whole.view(np.uint32))


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("heads", [1, 2, 3, 5, 6, 8, 13])
def test_any_number_of_heads_shares_the_keys(rng: np.random.Generator, heads: int, element: int) -> None:
    check(random_case(rng, 40, 9, heads, element=element))


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize(
    "dims", [(1, 1), (7, 9), (16, 33), (80, 15), (64, 64), (31, 128), (96, 80), (256, 256), (576, 512)]
)
def test_heads_of_any_size(rng: np.random.Generator, dims: tuple[int, int], element: int) -> None:
    check(random_case(rng, 33, 4, 3, dims, element=element))


@pytest.mark.parametrize("heads", [1, 3, 7, 16])
@pytest.mark.parametrize("tokens", [1, 5, 16, 33])
def test_rows_of_tile_registers(rng: np.random.Generator, heads: int, tokens: int) -> None:
    check(random_case(rng, 250, tokens, heads, (64, 48), element=BFLOAT16))
    check(random_case(rng, 250, tokens, heads, (32, 64), element=BFLOAT16, window=45))


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("before", [0, 1, 31, 32, 100, 127, 128, 511, 512, 1300])
def test_any_number_of_earlier_tokens(rng: np.random.Generator, before: int, element: int) -> None:
    check(random_case(rng, before, 3, element=element))


@pytest.mark.parametrize("element", [FLOAT32, BFLOAT16])
@pytest.mark.parametrize("tokens", [1, 2, 31, 32, 33, 70, 200])
def test_any_number_of_new_tokens(rng: np.random.Generator, tokens: int, element: int) -> None:
    check(random_case(rng, 20, tokens, 2, (32, 16), element=element))


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("window", [1, 2, 31, 32, 33, 64, 100, 130, 700])
def test_windows_and_chunks(rng: np.random.Generator, window: int, element: int, *, chunked: bool) -> None:
    for before in (0, 5, 150, 640):
        check(random_case(rng, before, 40, 2, window=window, chunked=chunked, element=element))


@pytest.mark.parametrize("softcap", [1.0, 50.0])
@pytest.mark.parametrize("element", ELEMENTS)
def test_scores_are_capped(rng: np.random.Generator, softcap: float, element: int) -> None:
    check(random_case(rng, 50, 20, softcap=softcap, element=element))


@pytest.mark.parametrize("element", ELEMENTS)
def test_sinks_take_a_part_of_the_weights(rng: np.random.Generator, element: int) -> None:
    sinks = np.array([-30.0, 0.5, 90.0], np.float32)  # without effect, part, and nearly all
    check(random_case(rng, 50, 20, sinks=sinks, element=element))
    check(random_case(rng, 550, 20, sinks=sinks, window=40, element=element))


@pytest.mark.parametrize("element", ELEMENTS)
def test_alibi_lowers_the_scores_of_distant_keys(rng: np.random.Generator, element: int) -> None:
    slopes = np.array([0.5, 0.01, 2.0], np.float32)
    check(random_case(rng, 1000, 20, slopes=slopes, element=element))


def test_alibi_is_rounded_as_in_training(rng: np.random.Generator) -> None:
    slopes = np.array([0.7, 0.01, 0.001], np.float32)
    check(random_case(rng, 1000, 20, slopes=slopes, rounded_slopes=0.25))


@pytest.mark.parametrize("element", [BFLOAT16, INT8])
def test_all_options_together(rng: np.random.Generator, element: int) -> None:
    options = {
        "softcap": 5.0,
        "window": 77,
        "sinks": rng.standard_normal(7).astype(np.float32),
        "slopes": rng.random(7).astype(np.float32),
        "element": element,
    }
    for chunked in (False, True):
        check(random_case(rng, 600, 50, 7, (20, 12), chunked=chunked, **options))


def test_large_scores_do_not_overflow(rng: np.random.Generator) -> None:
    case = random_case(rng, 300, 3)
    large = attrs.evolve(case, q=case.q * np.float32(1e4))
    for _ in instruction_sets():
        np.testing.assert_allclose(Pages(large).attend(0, 3), large.expected()[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("element", ELEMENTS)
def test_nan_of_one_token_stays_there(rng: np.random.Generator, element: int) -> None:
    case = random_case(rng, 10, 4, dims=(32, 32), element=element)
    case.q[2] = math.nan
    for _ in instruction_sets():
        out = Pages(case).attend(0, 4)
        assert np.isnan(out[2]).all()
        assert np.isfinite(out[[0, 1, 3]]).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("part", ["k", "v"])
def test_8_bits_do_not_hide_what_is_not_finite(rng: np.random.Generator, part: str, bad: float) -> None:
    case = random_case(rng, 40, 1, dims=(33, 33), element=INT8)
    for column in (0, 20, 32):
        changed = getattr(case, part).copy()
        changed[7, column] = bad
        for name in instruction_sets():
            out = Pages(attrs.evolve(case, **{part: changed})).attend(0, 1)
            assert np.isnan(out).all(), name


@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-30, 1e-6, 1e30])
def test_keys_and_values_of_any_size_have_8_bits(rng: np.random.Generator, size: float) -> None:
    """A position whose values are tiny or zero is not disturbed by others, nor does it disturb them."""
    case = random_case(rng, 40, 1, element=INT8)
    values = case.v.copy()
    values[::2] *= np.float32(size)
    exact = attrs.evolve(case, v=values, element=FLOAT32, k=to_int8(case.k)).expected()[0]
    for name in instruction_sets():
        out = Pages(attrs.evolve(case, v=values)).attend(0, 1)
        bound = np.abs(values).max() / 254 + 1e-6
        np.testing.assert_allclose(out, exact, rtol=1e-5, atol=bound, err_msg=name)
