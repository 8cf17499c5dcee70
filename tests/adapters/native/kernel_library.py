"""The functions of `csrc/testing`, by which tests reach the kernels, KV cache and thread pool."""

import ctypes
import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native_build.compiler import find_compiler
from native_build.install import OBJECTS
from native_build.shared_library import build

FLOAT32, BFLOAT16, INT8 = 0, 1, 3
"""Formats of the elements of the KV cache."""
PAGE = 32
INSTRUCTION_SETS = ("portable", "avx2", "avx512", "avx512vnni", "amx", "neon")
VARIABLE = "LITGPT_NATIVE_ISA"

_POINTERS = (
    "test_sequence_new",
    "test_sequence_read",
    "test_sequence_write",
)
_NUMBERS = (
    "test_attention_bytes",
    "test_cache_bytes",
    "test_cache_shape_bytes",
    "test_causal_conv_bytes",
    "test_delta_rule_bytes",
    "test_dependent_loops",
    "test_sequence_length",
    "test_sequence_pages",
)


@cache
def kernel_library() -> ctypes.CDLL:
    """Build and load the library."""
    compiler = find_compiler()
    assert compiler is not None
    library = ctypes.CDLL(str(build(OBJECTS / "testing", compiler, OBJECTS, testing=True)))
    for name in _POINTERS:
        getattr(library, name).restype = ctypes.c_void_p
    for name in _NUMBERS:
        getattr(library, name).restype = ctypes.c_int64
    for name in ("test_kernels_name", "test_last_error"):
        getattr(library, name).restype = ctypes.c_char_p
    return library


def pointer(array: NDArray[Any] | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)


def int64(value: int) -> ctypes.c_int64:
    return ctypes.c_int64(value)


def instruction_sets() -> Iterator[str]:
    """Select the kernels of one instruction set after the other, of those that this processor runs."""
    before = os.environ.get(VARIABLE)
    try:
        for name in INSTRUCTION_SETS:
            os.environ[VARIABLE] = name
            if kernel_library().test_kernels_name() == name.encode():
                yield name
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


def to_bfloat16(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the nearest bfloat16, ties to even."""
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)
