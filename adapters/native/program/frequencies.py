"""The inverse frequencies of RoPE as numbers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from litgpt.domain.model import RopeSpec, rope_frequencies


def inverse_frequencies(rope: RopeSpec) -> list[float]:
    """Return the scaled inverse frequencies (R/2,) in float32; `rope` is resolved for one length."""
    frequencies: list[float] = rope_frequencies.inverse_frequencies(rope, _array).tolist()
    return frequencies


def _array(values: Sequence[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)
