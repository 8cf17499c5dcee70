"""Translate out-of-memory errors of torch and Python."""

import errno
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from litgpt.adapters.pytorch.runtime.system_memory import allocatable_memory
from litgpt.domain.errors import InsufficientSpace
from litgpt.domain.memory.preflight import gigabytes

# Messages of torch's allocators for CPU and MPS, and for sizes that overflow an integer.
_ALLOCATION_FAILED = re.compile(
    r"can't allocate memory|not enough memory|out of memory|Storage size calculation overflowed"
    r"|integer multiplication overflow|Invalid buffer size",
    re.IGNORECASE,
)
_BYTES = re.compile(r"allocate (\d+) bytes")
_SIZE = re.compile(r"allocate ([\d.]+ [KMGT]iB).*?([\d.]+ [KMGT]iB) is free", re.DOTALL)


@contextmanager
def translate_out_of_memory(
    operation: str, within: AbstractContextManager[object] | None = None
) -> Iterator[None]:
    """Run a block and convert its out-of-memory errors to an UnsupportedOperation with both figures.

    `operation` describes the block, such as "Generating"; `within` is another context manager for it.
    """
    try:
        with within or nullcontext():
            yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        reason = f"not enough memory: {_allocation_sizes(str(error))}. {_REMEDY}"
        raise InsufficientSpace(operation, reason) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory could not be allocated."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return type(error) is RuntimeError and _ALLOCATION_FAILED.search(str(error)) is not None


def _allocation_sizes(message: str) -> str:
    if sizes := _SIZE.search(message):  # of a CUDA device
        return f"a tensor needs {sizes[1]} and {sizes[2]} are available"
    size, free = _BYTES.search(message), allocatable_memory()
    needs = f"a tensor needs {gigabytes(int(size[1]))}" if size else "a tensor could not be allocated"
    return needs if free is None else f"{needs} and {gigabytes(free)} are available"


_REMEDY = "Use shorter texts, a smaller batch, a smaller precision or model, or quantize=."
