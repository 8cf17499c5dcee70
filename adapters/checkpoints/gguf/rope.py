"""How positions were stretched for a longer context: from a GGUF header to Hugging Face's words."""

import math
import struct

from litgpt.adapters.checkpoints.gguf.header import StoredTensor
from litgpt.adapters.checkpoints.gguf.source import Source
from litgpt.domain.errors import DamagedFile

FREQUENCY_FACTORS = "rope_freqs.weight"
"""The tensor that divides each frequency: Llama 3.1 and later have it where `config.json` has numbers."""

DEFAULT_BASE = 10_000.0
"""What llama.cpp takes where a header has no `rope.freq_base`."""

# The numbers in the config.json of Llama 3.1, 3.2 and 3.3, apart from the factor, which is 8 or 32.
# Source: Grattafiori et al. 2024, arXiv:2407.21783, and the models' own config.json.
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}

# The factors were worked out in float32.
TOLERANCE = 1e-4

# GGUF's keys behind `rope.scaling.`, and what Hugging Face calls them.
_YARN = {
    "original_context_length": "original_max_position_embeddings",
    "attn_factor": "attention_factor",
    "yarn_beta_fast": "beta_fast",
    "yarn_beta_slow": "beta_slow",
}


def rope_scaling(source: Source) -> dict[str, object] | None:
    """Return what `rope_scaling` would be in `config.json`, or None if positions were not stretched.

    Raises:
        DamagedFile: The factors are not in the file, or are too few.
        UnsupportedModel: The factors are of no known rule.

    """
    said = _said(source)
    stored = source.tensors.get(FREQUENCY_FACTORS)
    if stored is None:
        return said
    recovered = _llama3(source, _factors(stored))
    if said and recovered:
        raise source.metadata.refuse("its positions are stretched twice, by its header and by a tensor.")
    return recovered or said


def _said(source: Source) -> dict[str, object] | None:
    """Return the scaling that the header names."""
    kind = source.metadata.text(source.key("rope.scaling.type")) or "linear"
    factor = source.number("rope.scaling.factor") or source.number("rope.scale_linear") or 1.0
    if kind == "none" or (kind == "linear" and factor == 1):
        return None
    scaling: dict[str, object] = {"rope_type": kind, "factor": factor}
    if kind != "linear":
        for theirs, ours in _YARN.items():
            if (value := source.number(f"rope.scaling.{theirs}")) is not None:
                scaling[ours] = value
    return scaling


def _factors(stored: StoredTensor) -> tuple[float, ...]:
    if stored.format.name != "F32":
        raise DamagedFile(
            str(stored.file.path), f"{stored.name!r} is stored as {stored.format.name}, not F32."
        )
    return struct.unpack(f"<{stored.nbytes // 4}f", stored.file.read(stored.start, stored.stop))


def _llama3(source: Source, factors: tuple[float, ...]) -> dict[str, object] | None:
    """Return the numbers that the factors were worked out from, having worked them out again.

    Raises:
        UnsupportedModel: The factors are not Llama 3's.

    """
    if all(factor == 1 for factor in factors):
        return None
    base = source.number("rope.freq_base") or DEFAULT_BASE
    scaling = {"rope_type": "llama3", "factor": max(factors), **LLAMA3}
    expected = [
        _llama3_factor(2 * math.pi * base ** (2 * pair / source.rotated), max(factors))
        for pair in range(source.rotated // 2)
    ]
    same = len(factors) == len(expected) and all(
        math.isclose(one, other, rel_tol=TOLERANCE) for one, other in zip(factors, expected, strict=True)
    )
    if not same:
        raise source.metadata.refuse(
            f"its tensor {FREQUENCY_FACTORS!r} stretches positions by an unknown rule."
        )
    return scaling


def _llama3_factor(wavelength: float, factor: float) -> float:
    """Return what Llama 3's scaling divides the frequency of a wavelength by."""
    low, high, context = (
        LLAMA3["low_freq_factor"],
        LLAMA3["high_freq_factor"],
        LLAMA3["original_max_position_embeddings"],
    )
    if wavelength < context / high:
        return 1.0
    if wavelength > context / low:
        return factor
    smooth = (context / wavelength - low) / (high - low)
    return 1 / ((1 - smooth) / factor + smooth)
