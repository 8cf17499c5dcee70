"""The inverse frequencies of RoPE as numbers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from litgpt.domain.model import RopeSpec
from litgpt.domain.model.rope_frequencies import inverse_frequencies


def inverse_frequency_list(rope: RopeSpec) -> list[float]:
    """Return the scaled inverse frequencies (R/2,) in float32; `rope` is resolved for one length."""
    frequencies: list[float] = inverse_frequencies(rope, _array).tolist()
    return frequencies


def _array(values: Sequence[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)
