"""The speed at which the engine's threads read memory, which limits decoding."""

from time import perf_counter

from litgpt.adapters.native.library import check, load_library
from litgpt.adapters.native.matrix import MatrixMemory

SIZE = 512 << 20
"""The bytes that all threads read together: more than the caches of a processor."""

_ALLOCATIONS = 3
_REPEATS = 4


def read_bandwidth() -> float:
    """Measure the bytes per second that the engine's threads read from memory such as that of weights.

    The result is the best of some repeats in each of several allocations, because the speed depends on the
    physical pages of an allocation.
    """
    return max(_speed_of_allocation() for _ in range(_ALLOCATIONS))


def _speed_of_allocation() -> float:
    read, best = load_library().litgpt_read_memory, 0.0
    memory = MatrixMemory().zeros(SIZE)
    memory.fill(1)
    for _ in range(_REPEATS):
        start = perf_counter()
        check(read(memory.ctypes.data, memory.nbytes), "Reading memory")
        best = max(best, SIZE / (perf_counter() - start))
    return best
