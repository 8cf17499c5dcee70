"""RoPE scaling, from GGUF headers to Hugging Face's `rope_scaling`."""

import math
import struct
from collections.abc import Mapping

from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.reader.header import GgufTensor
from litgpt.domain.errors import CorruptFile

FREQUENCY_FACTORS = "rope_freqs.weight"
"""The tensor of frequency divisors, which replaces the parameters of Llama 3.1's RoPE scaling."""

LONG_FACTORS, SHORT_FACTORS = "rope_factors_long.weight", "rope_factors_short.weight"
"""The tensors of LongRoPE's frequency divisors."""

TENSORS = (FREQUENCY_FACTORS, LONG_FACTORS, SHORT_FACTORS)
"""The tensors that are translated to `rope_scaling`."""

DEFAULT_BASE = 10_000.0
"""llama.cpp's default of `rope.freq_base`."""

# The parameters of Llama 3.1, 3.2 and 3.3 except the factor, which is 8 or 32, and of Llama 4, which has no
# interpolated frequencies.
# Source: Grattafiori et al. 2024, arXiv:2407.21783, and the models' own config.json.
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
LLAMA4 = {**LLAMA3, "high_freq_factor": 1.0}

# The factors were computed in float32.
TOLERANCE = 1e-4

# GGUF's keys after `rope.scaling.`, and Hugging Face's.
_YARN = {
    "attn_factor": "attention_factor",
    "yarn_attn_factor": "attention_factor",
    "yarn_beta_fast": "beta_fast",
    "yarn_beta_slow": "beta_slow",
}


def rope_scaling(model: GgufModel) -> dict[str, object] | None:
    """Return the `rope_scaling` of `config.json`, or None without RoPE scaling."""
    if LONG_FACTORS in model.tensors or SHORT_FACTORS in model.tensors:
        return _longrope(model)
    named = _named_scaling(model)
    stored = model.tensors.get(FREQUENCY_FACTORS)
    if stored is None:
        return named
    recovered = _llama3(model, stored)
    if named and recovered:
        raise model.metadata.unsupported("it has two RoPE scalings: in its header and in a tensor.")
    return recovered or named


def _named_scaling(model: GgufModel) -> dict[str, object] | None:
    kind = model.metadata.text(model.key("rope.scaling.type")) or "linear"
    factor = model.number("rope.scaling.factor") or model.number("rope.scale_linear") or 1.0
    if kind == "none" or (kind == "linear" and factor == 1):
        return None
    scaling: dict[str, object] = {"rope_type": kind, "factor": factor}
    return scaling if kind == "linear" else scaling | _numbers(model)


def _longrope(model: GgufModel) -> dict[str, object]:
    scaling: dict[str, object] = {"rope_type": "longrope"}
    for name, hf_name in ((SHORT_FACTORS, "short_factor"), (LONG_FACTORS, "long_factor")):
        stored = model.tensors.get(name)
        if stored is None or stored.quant_type.name != "F32" or stored.shape != (model.rotary_dim // 2,):
            reason = f"it must have an F32 tensor {name!r} with a factor for each rotated pair."
            raise CorruptFile(model.metadata.path, reason)
        scaling[hf_name] = [
            *struct.unpack(f"<{stored.shape[0]}f", stored.file.read(stored.start, stored.stop))
        ]
    return scaling | _numbers(model)


def _numbers(model: GgufModel) -> dict[str, object]:
    """Return the parameters of the scaling other than its type and factor."""
    original = model.integer("rope.scaling.original_context_length")
    parameters: dict[str, object] = {} if original is None else {"original_max_position_embeddings": original}
    for gguf_name, hf_name in _YARN.items():
        if (value := model.number(f"rope.scaling.{gguf_name}")) is not None:
            parameters[hf_name] = value
    return parameters


def _llama3(model: GgufModel, stored: GgufTensor) -> dict[str, object] | None:
    """Return the Llama 3 parameters that reproduce the factors, or None if all factors are 1."""
    unknown = model.metadata.unsupported(
        f"the factors in its tensor {stored.name!r} are not a known RoPE scaling."
    )
    base, rotated = model.number("rope.freq_base") or DEFAULT_BASE, model.rotary_dim
    if stored.quant_type.name != "F32" or stored.shape != (rotated // 2,) or base <= 1:
        raise unknown
    factors = struct.unpack(f"<{rotated // 2}f", stored.file.read(stored.start, stored.stop))
    if all(actual == 1 for actual in factors):
        return None
    factor = max(factors)
    wavelengths = [2 * math.pi * base ** (2 * pair / rotated) for pair in range(rotated // 2)]
    if not 1 < factor < math.inf:
        raise unknown
    for rule in (LLAMA3, LLAMA4):
        if all(
            math.isclose(actual, _llama3_factor(wavelength, factor, rule), rel_tol=TOLERANCE)
            for actual, wavelength in zip(factors, wavelengths, strict=True)
        ):
            return {"rope_type": "llama3", "factor": factor, **rule}
    raise unknown


def _llama3_factor(wavelength: float, factor: float, rule: Mapping[str, float]) -> float:
    """Return the divisor of the frequency with a given wavelength."""
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
