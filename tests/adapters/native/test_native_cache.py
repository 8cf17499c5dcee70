"""The KV cache of the native engine: pages, copy on write, windows, truncation and failed allocations."""

import ctypes
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.adapters.native.kernel_library import BFLOAT16, FLOAT32, INT8, PAGE, int64, kernel_library

K_DIM, V_DIM = 6, 5


class Shape(ctypes.Structure):
    """`CacheShape` of cache.h."""

    _fields_ = (
        ("kv_heads", ctypes.c_int32),
        ("k_dim", ctypes.c_int32),
        ("v_dim", ctypes.c_int32),
        ("element", ctypes.c_int32),
        ("window", ctypes.c_int64),
        ("chunked", ctypes.c_bool),
    )


FULL = Shape(2, K_DIM, V_DIM, FLOAT32, 0, False)
NONE = Shape(0, 0, 0, FLOAT32, 0, False)
WINDOW = Shape(3, K_DIM, V_DIM, FLOAT32, 40, False)
CHUNKED = Shape(1, K_DIM, V_DIM, FLOAT32, 64, True)


class Sequence:
    """A sequence that stores a number for each token in each layer and head."""

    def __init__(self, *shapes: Shape) -> None:
        self.shapes = (Shape * len(shapes))(*shapes)
        self.handle = ctypes.c_void_p(kernel_library().test_sequence_new(self.shapes, len(shapes)))
        self.is_open = True

    def close(self) -> None:
        if self.is_open:
            kernel_library().test_sequence_free(self.handle)
        self.is_open = False

    def fork(self) -> "Sequence":
        other = Sequence(*self.shapes)
        assert kernel_library().test_sequence_share(other.handle, self.handle) == 0
        return other

    def __len__(self) -> int:
        return int(kernel_library().test_sequence_length(self.handle))

    def reserve(self, count: int) -> bool:
        return bool(kernel_library().test_sequence_reserve(self.handle, int64(count)) == 0)

    def append(self, *numbers: int) -> None:
        start = len(self)
        assert self.reserve(len(numbers))
        for position, number in enumerate(numbers, start):
            for layer, shape in enumerate(self.shapes):
                for head in range(shape.kv_heads):
                    for values in (0, 1):
                        page = kernel_library().test_sequence_write(
                            self.handle, layer, head, int64(position), values
                        )
                        stored = _stored(page, shape, values, position)
                        for part, expected in zip(stored, _numbers(number, layer, head, stored), strict=True):
                            part[:] = expected
        kernel_library().test_sequence_advance(self.handle, int64(len(numbers)))

    def truncate(self, length: int) -> bool:
        return bool(kernel_library().test_sequence_truncate(self.handle, int64(length)) == 0)

    def pages(self, layer: int) -> list[bool]:
        """Return whether each page is there."""
        count = kernel_library().test_sequence_pages(self.handle, layer)
        return [self._page(layer, 0, page, 0) is not None for page in range(count)]

    def check(self, *numbers: int) -> None:
        """All tokens in pages that are there have their number."""
        assert len(self) == len(numbers)
        for layer, shape in enumerate(self.shapes):
            for head in range(shape.kv_heads):
                for values in (0, 1):
                    for position, number in enumerate(numbers):
                        page = self._page(layer, head, position // PAGE, values)
                        if page is not None:
                            stored = _stored(page, shape, values, position)
                            for part, expected in zip(
                                stored, _numbers(number, layer, head, stored), strict=True
                            ):
                                np.testing.assert_array_equal(part, expected)

    def _page(self, layer: int, head: int, page: int, values: int) -> int | None:
        found = kernel_library().test_sequence_read(self.handle, layer, head, int64(page), values)
        assert found is None or found % 64 == 0
        return None if found is None else int(found)


def _stored(address: int, shape: Shape, values: int, position: int) -> list[NDArray[Any]]:
    """Return the elements of one position, and in 8 bits its scale.

    The elements are a row of a page of values, or a column of a page of keys.
    """
    slot, is_int8 = position % PAGE, shape.element == INT8
    size = (V_DIM if values else K_DIM) * PAGE
    kind = ctypes.c_uint8 if is_int8 else ctypes.c_float
    page = _array(address + (4 * PAGE if is_int8 else 0), kind, size)
    elements = page.reshape(PAGE, -1)[slot] if values else page.reshape(-1, PAGE)[:, slot]
    return [elements, _array(address, ctypes.c_float, PAGE)[slot : slot + 1]] if is_int8 else [elements]


def _array(address: int, kind: type[Any], size: int) -> NDArray[Any]:
    return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(kind)), (size,))


def _numbers(number: int, layer: int, head: int, stored: list[NDArray[Any]]) -> list[NDArray[Any]]:
    numbers = number * 1000 + layer * 100 + head * 10 + np.arange(stored[0].size)
    return [(numbers % 251).astype(np.uint8), numbers[:1]] if len(stored) > 1 else [numbers]


Make = Callable[..., Sequence]


@pytest.fixture(params=[FLOAT32, INT8])
def make(request: Any) -> Iterator[Make]:
    """Makes sequences in one format of the elements, which are freed after the test."""
    made: list[Sequence] = []

    def new(*shapes: Shape) -> Sequence:
        fields = ((it.kv_heads, it.k_dim, it.v_dim, request.param, it.window, it.chunked) for it in shapes)
        made.append(Sequence(*(Shape(*values) for values in fields)))
        return made[-1]

    yield new
    for sequence in made:
        sequence.close()


def test_the_structure_is_that_of_the_header() -> None:
    assert kernel_library().test_cache_shape_bytes() == ctypes.sizeof(Shape)


def test_tokens_are_kept_in_pages_that_come_as_they_are_needed(make: Make) -> None:
    sequence = make(FULL, NONE, FULL)
    sequence.append(*range(5))
    assert sequence.pages(0) == sequence.pages(2) == [True]
    assert sequence.pages(1) == []
    sequence.append(*range(5, 100))
    assert sequence.pages(0) == [True] * 4
    for number in range(100, 300):
        sequence.append(number)
    sequence.check(*range(300))


def test_reserving_more_than_is_computed_changes_nothing(make: Make) -> None:
    sequence = make(FULL, WINDOW)
    sequence.append(*range(40))
    assert sequence.reserve(500)
    assert sequence.reserve(3)
    sequence.check(*range(40))
    sequence.append(*range(40, 200))
    sequence.check(*range(200))


def test_windows_free_the_pages_that_no_later_token_sees(make: Make) -> None:
    sequence = make(FULL, WINDOW, CHUNKED)
    sequence.append(*range(70))
    # Token 70 sees 31 to 70 through the window, and 64 to 70 of its chunk.
    assert sequence.pages(1) == [True, True, True]
    assert sequence.pages(2) == [False, False, True]
    sequence.append(70)
    assert sequence.pages(1) == [False, True, True]
    sequence.append(*range(71, 200))
    assert sequence.pages(0) == [True] * 7
    assert sequence.pages(1) == [False] * 5 + [True] * 2
    assert sequence.pages(2) == [False] * 6 + [True]
    sequence.check(*range(200))


def test_memory_does_not_grow_with_a_window(make: Make) -> None:
    sequence = make(WINDOW)
    sequence.append(*range(100))
    before = kernel_library().test_cache_bytes()
    for start in range(100, 2000, 20):
        sequence.append(*range(start, start + 20))
    assert kernel_library().test_cache_bytes() <= before + 2 * PAGE * 3 * (K_DIM + V_DIM) * 4


def test_forks_share_pages_and_copy_them_before_they_write(make: Make) -> None:
    sequence = make(FULL, WINDOW, CHUNKED)
    sequence.append(*range(100))
    before = kernel_library().test_cache_bytes()
    forks = [sequence.fork() for _ in range(3)]
    assert kernel_library().test_cache_bytes() == before
    for start, fork in enumerate(forks, 1):
        fork.append(*range(1000 * start, 1000 * start + 50))
    sequence.append(*range(100, 120))
    sequence.check(*range(120))
    for start, fork in enumerate(forks, 1):
        fork.check(*range(100), *range(1000 * start, 1000 * start + 50))
    sequence.close()
    for start, fork in enumerate(forks, 1):
        fork.append(7)
        fork.check(*range(100), *range(1000 * start, 1000 * start + 50), 7)
        fork.close()


def test_a_fork_at_the_end_of_a_page_copies_nothing(make: Make) -> None:
    sequence = make(FULL)
    sequence.append(*range(2 * PAGE))
    fork = sequence.fork()
    fork.append(1)
    sequence.append(2)
    sequence.check(*range(2 * PAGE), 2)
    fork.check(*range(2 * PAGE), 1)
    fork.close()


def test_a_sequence_continues_after_truncation(make: Make) -> None:
    sequence = make(FULL, NONE)
    sequence.append(*range(150))
    fork = sequence.fork()
    for length in (149, 96, 70, 0):
        assert sequence.truncate(length)
        sequence.check(*range(length))
        sequence.append(*range(2000, 2040))
        sequence.check(*range(length), *range(2000, 2040))
    fork.check(*range(150))
    fork.close()


@pytest.mark.parametrize("length", [-1, 151])
def test_only_existing_tokens_can_be_truncated(make: Make, length: int) -> None:
    sequence = make(FULL)
    sequence.append(*range(150))
    assert not sequence.truncate(length)
    assert b"has 150 tokens" in kernel_library().test_last_error()
    sequence.check(*range(150))


def test_truncation_cannot_bring_back_what_a_window_has_freed(make: Make) -> None:
    sequence = make(FULL, WINDOW)
    sequence.append(*range(200))
    assert sequence.truncate(199)
    assert not sequence.truncate(150)
    assert b"layer 1 no longer has the 39 tokens" in kernel_library().test_last_error()
    sequence.check(*range(199))
    assert sequence.truncate(0)
    sequence.append(*range(100))
    sequence.check(*range(100))


def test_truncation_to_the_start_of_a_chunk(make: Make) -> None:
    sequence = make(CHUNKED)
    sequence.append(*range(200))
    assert sequence.truncate(128)  # the chunk of the next token starts there, and nothing before it is seen
    sequence.append(*range(500, 600))
    sequence.check(*range(128), *range(500, 600))


def test_only_an_empty_sequence_of_the_same_model_can_share(make: Make) -> None:
    sequence, other = make(FULL), make(FULL, FULL)
    sequence.append(1)
    library = kernel_library()
    assert library.test_sequence_share(sequence.handle, sequence.handle) == -1
    assert library.test_sequence_share(other.handle, sequence.handle) == -1


def test_free_pages_beyond_a_bound_are_returned_to_the_system() -> None:
    wide = Shape(4, 128, 128, FLOAT32, 0, False)
    before = kernel_library().test_cache_bytes()
    sequence = Sequence(wide)
    assert sequence.reserve(30_000)
    assert kernel_library().test_cache_bytes() > before + (100 << 20)
    sequence.close()
    assert kernel_library().test_cache_bytes() <= before + (32 << 20)


@pytest.mark.parametrize(("element", "size"), [(FLOAT32, 4), (BFLOAT16, 2), (INT8, 1 + 4 / 96)])
def test_8_bits_take_half_of_the_memory_of_bfloat16(element: int, size: float) -> None:
    """A position has an element for each dimension, and in 8 bits a float32 scale."""
    before = kernel_library().test_cache_bytes()
    sequence = Sequence(Shape(7, 96, 96, element, 0, False))  # no other test has pages of that size
    assert sequence.reserve(100 * PAGE)
    assert kernel_library().test_cache_bytes() - before == round(100 * PAGE * 7 * (96 + 96) * size)
    sequence.close()


OUT_OF_MEMORY = """
    import resource
    from tests.adapters.native.test_native_cache import FULL, WINDOW, Sequence, Shape, kernel_library
    from tests.adapters.native.kernel_library import FLOAT32
    wide = Shape(8, 256, 256, FLOAT32, 0, False)
    sequence = Sequence(FULL, wide, WINDOW)
    sequence.append(*range(100))
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), -1))
    for count in (100_000, 1 << 39):
        assert not sequence.reserve(count)
        assert kernel_library().test_last_error().startswith(b"Out of memory")
        assert len(sequence.pages(1)) == 4
        sequence.check(*range(100))
    sequence.append(*range(100, 130))
    sequence.check(*range(130))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process")
def test_a_failed_allocation_changes_nothing() -> None:
    code = textwrap.dedent(OUT_OF_MEMORY)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
