"""The speed at which threads read memory, which limits decoding."""

from time import perf_counter

import numpy as np

SIZE = 512 << 20
"""The bytes that all threads read together: more than the caches of a processor."""

_REPEATS = 5


def read_bandwidth(threads: int) -> float:
    """Measure the bytes per second that `threads` threads read together: the best of some repeats."""
    from concurrent.futures import ThreadPoolExecutor  # generating does not need it

    parts = np.array_split(np.ones(SIZE, dtype=np.uint8), threads)
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_REPEATS):
            start = perf_counter()
            list(pool.map(np.max, parts))  # vectorized, and without the GIL
            best = max(best, SIZE / (perf_counter() - start))
    return best
