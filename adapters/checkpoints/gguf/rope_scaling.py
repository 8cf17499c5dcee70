"""How positions were stretched for a longer context: from a GGUF header to Hugging Face's words."""

import math
import struct
from collections.abc import Mapping

from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.reader.header import GgufTensor
from litgpt.domain.errors import CorruptFile

FREQUENCY_FACTORS = "rope_freqs.weight"
"""The tensor that divides each frequency: Llama 3.1 and later have it where `config.json` has numbers."""

LONG_FACTORS, SHORT_FACTORS = "rope_factors_long.weight", "rope_factors_short.weight"
"""The tensors that do so in Phi-3, for long texts and for short ones."""

TENSORS = (FREQUENCY_FACTORS, LONG_FACTORS, SHORT_FACTORS)
"""The tensors that `rope_scaling` tells in its own words."""

DEFAULT_BASE = 10_000.0
"""What llama.cpp takes where a header has no `rope.freq_base`."""

# The numbers in the config.json of Llama 3.1, 3.2 and 3.3, apart from the factor, which is 8 or 32, and of
# Llama 4, in which nothing lies between what is stretched and what is not.
# Source: Grattafiori et al. 2024, arXiv:2407.21783, and the models' own config.json.
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
LLAMA4 = {**LLAMA3, "high_freq_factor": 1.0}

# The factors were worked out in float32.
TOLERANCE = 1e-4

# GGUF's keys behind `rope.scaling.`, and what Hugging Face calls them.
_YARN = {
    "attn_factor": "attention_factor",
    "yarn_attn_factor": "attention_factor",
    "yarn_beta_fast": "beta_fast",
    "yarn_beta_slow": "beta_slow",
}


def rope_scaling(model: GgufModel) -> dict[str, object] | None:
    """Return what `rope_scaling` would be in `config.json`, or None if positions were not stretched.

    Raises:
        CorruptFile: A key cannot be right.
        UnsupportedModel: The factors are of no known rule.

    """
    if LONG_FACTORS in model.tensors or SHORT_FACTORS in model.tensors:
        return _longrope(model)
    said = _named_scaling(model)
    stored = model.tensors.get(FREQUENCY_FACTORS)
    if stored is None:
        return said
    recovered = _llama3(model, stored)
    if said and recovered:
        raise model.metadata.unsupported("its positions are stretched twice, by its header and by a tensor.")
    return recovered or said


def _named_scaling(model: GgufModel) -> dict[str, object] | None:
    """Return the scaling that the header names."""
    kind = model.metadata.text(model.key("rope.scaling.type")) or "linear"
    factor = model.number("rope.scaling.factor") or model.number("rope.scale_linear") or 1.0
    if kind == "none" or (kind == "linear" and factor == 1):
        return None
    scaling: dict[str, object] = {"rope_type": kind, "factor": factor}
    return scaling if kind == "linear" else scaling | _numbers(model)


def _longrope(model: GgufModel) -> dict[str, object]:
    """Return LongRoPE's two lists of factors.

    Raises:
        CorruptFile: One is missing, or not of the right length.

    """
    scaling: dict[str, object] = {"rope_type": "longrope"}
    for name, ours in ((SHORT_FACTORS, "short_factor"), (LONG_FACTORS, "long_factor")):
        stored = model.tensors.get(name)
        if stored is None or stored.quant_type.name != "F32" or stored.shape != (model.rotary_dim // 2,):
            reason = f"it must have a tensor {name!r} with a number for each pair that is rotated, in F32."
            raise CorruptFile(model.metadata.path, reason)
        scaling[ours] = [*struct.unpack(f"<{stored.shape[0]}f", stored.file.read(stored.start, stored.stop))]
    return scaling | _numbers(model)


def _numbers(model: GgufModel) -> dict[str, object]:
    """Return what the header says of the scaling besides its kind and factor."""
    original = model.integer("rope.scaling.original_context_length")
    found: dict[str, object] = {} if original is None else {"original_max_position_embeddings": original}
    for theirs, ours in _YARN.items():
        if (value := model.number(f"rope.scaling.{theirs}")) is not None:
            found[ours] = value
    return found


def _llama3(model: GgufModel, stored: GgufTensor) -> dict[str, object] | None:
    """Return the numbers that the factors were worked out from, having worked them out again.

    Raises:
        UnsupportedModel: The factors are not Llama 3's.

    """
    unknown = model.metadata.unsupported(
        f"its tensor {stored.name!r} stretches positions by an unknown rule."
    )
    base, rotated = model.number("rope.freq_base") or DEFAULT_BASE, model.rotary_dim
    if stored.quant_type.name != "F32" or stored.shape != (rotated // 2,) or base <= 1:
        raise unknown
    factors = struct.unpack(f"<{rotated // 2}f", stored.file.read(stored.start, stored.stop))
    if all(found == 1 for found in factors):
        return None
    factor = max(factors)
    wavelengths = [2 * math.pi * base ** (2 * pair / rotated) for pair in range(rotated // 2)]
    if not 1 < factor < math.inf:
        raise unknown
    for rule in (LLAMA3, LLAMA4):
        if all(
            math.isclose(found, _llama3_factor(wavelength, factor, rule), rel_tol=TOLERANCE)
            for found, wavelength in zip(factors, wavelengths, strict=True)
        ):
            return {"rope_type": "llama3", "factor": factor, **rule}
    raise unknown


def _llama3_factor(wavelength: float, factor: float, rule: Mapping[str, float]) -> float:
    """Return what the scaling divides the frequency of a wavelength by."""
    low, high, context = (
        rule["low_freq_factor"],
        rule["high_freq_factor"],
        rule["original_max_position_embeddings"],
    )
    if wavelength < context / high:
        return 1.0
    if wavelength > context / low:
        return factor
    smooth = (context / wavelength - low) / (high - low)
    return 1 / ((1 - smooth) / factor + smooth)
