"""The format in which each matrix of a model is packed.

Without a requested dtype or quantization, a checkpoint runs as it is stored. Formats that the engine does not
have are packed in the one that keeps their values best at about their size:

| stored | packed | values |
| --- | --- | --- |
| Q8_0, Q5_0, Q5_1, Q4_0, Q4_1, Q4_K, Q5_K, Q6_K, MXFP4 | in their own bits | the same |
| tensors and experts of several of these | Q8 | quantized again, except Q8_0, Q5_0, Q4_0 and MXFP4 |
| Q2_K, Q3_K | Q8 | quantized again: off by 1/225 of the largest of 32 at most |
| AWQ, GPTQ, MXFP4 | in their own bits | the same |
| GPTQ with act-order, groups that blocks divide, scales that are not float16 | BF16 | rounded |
| other formats of safetensors, which are dequantized (FP8, NF4, …) | BF16 | rounded |
| quantized weights into which an adapter is merged | BF16 | rounded |
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from litgpt.adapters.native.structures import Format
from litgpt.domain.model import ParameterSpec
from litgpt.domain.ports import Checkpoint
from litgpt.domain.quantization import is_quantized
from litgpt.domain.weights.mapping import ParameterSource
from litgpt.domain.weights.tensor_info import DType

NativeQuantization: TypeAlias = Literal["int8", "int4"]

FORMATS: dict[DType, Format] = {"float32": Format.F32, "bfloat16": Format.BF16, "float16": Format.F16}

_DENSE = {"F32": Format.F32, "F64": Format.F32, "BF16": Format.BF16, "F16": Format.F16}
_QUANTIZED = {
    "Q8_0": Format.Q8,
    "Q5_0": Format.Q5,
    "Q5_1": Format.Q5M,
    "Q4_0": Format.Q4,
    "Q4_1": Format.Q4M,
    "Q4Z": Format.Q4Z,
    "MXFP4": Format.FP4,
    "Q6_K": Format.Q6K,
    "Q5_K": Format.Q5K,
    "Q4_K": Format.Q4K,
    **dict.fromkeys(("Q2_K", "Q3_K"), Format.Q8),
}

_COPIED = {"Q8_0": Format.Q8, "Q4_0": Format.Q4, "Q4_1": Format.Q4M, "MXFP4": Format.FP4}
"""The formats whose codes have the order of the packed ones."""


def choose_formats(
    checkpoint: Checkpoint[Any],
    matrices: Sequence[ParameterSource],
    dtype: DType | None = None,
    quantize: NativeQuantization | None = None,
) -> list[tuple[ParameterSource, Format]]:
    """Return the format of each matrix: `choose_format`, and a common one for the experts of a layer.

    All their gates and projections up have the same format, and all their projections down.
    """
    plan = [(source, choose_format(checkpoint, source, dtype, quantize)) for source in matrices]
    formats: dict[str | None, set[Format]] = defaultdict(set)
    for source, target in plan:
        formats[_experts_of(source)].add(target)
    return [
        (source, target if (experts := _experts_of(source)) is None else _common_format(formats[experts]))
        for source, target in plan
    ]


def choose_format(
    checkpoint: Checkpoint[Any],
    source: ParameterSource,
    dtype: DType | None = None,
    quantize: NativeQuantization | None = None,
) -> Format:
    """Return the format of a matrix.

    Args:
        checkpoint: The stored model.
        source: The parameter and its tensors.
        dtype: The format of matrices that `quantize` does not name; None packs them as they are stored.
        quantize: `int8` or `int4` (with a scale and a minimum for 32 weights). The embedding and the head
            then have 8 bits, or fewer if they are stored so; routers are not quantized.
    """
    if quantize is not None:
        if _is_vocabulary(source.parameter):
            stored = _stored_format(checkpoint, source)
            return stored if stored in _QUANTIZED.values() else Format.Q8
        if is_quantized(source.parameter):
            return Format.Q8 if quantize == "int8" else Format.Q4M
    return _stored_format(checkpoint, source) if dtype is None else FORMATS[dtype]


def computes_codes(checkpoint: Checkpoint[Any], source: ParameterSource, target: Format) -> bool:
    """Return whether packing a matrix computes its codes, which takes longer than copying them."""
    names = {checkpoint.tensors[tensor].storage_format for tensor in source.hf_names}
    return target in _QUANTIZED.values() and any(_COPIED.get(name) != target for name in names)


def _stored_format(checkpoint: Checkpoint[Any], source: ParameterSource) -> Format:
    """Return the format in which the tensors of a parameter are packed by default."""
    formats: set[Format] = set()
    for tensor in source.hf_names:
        raw = checkpoint.raw(tensor)
        if raw is None:
            # The values are not those of the file: they are dequantized, or an adapter is merged into them.
            names = checkpoint.tensors[tensor].storage_format.split("+")
            formats.update(_DENSE.get(name, Format.BF16) for name in names)
        else:
            formats.update((_QUANTIZED | _DENSE)[name] for name in raw.storage_formats)
    return _common_format(formats)


def _common_format(formats: set[Format]) -> Format:
    """Return the format of rows that are stored in several formats."""
    if len(formats) == 1:
        return next(iter(formats))
    if formats <= set(_QUANTIZED.values()):
        return Format.Q8
    return Format.F32 if formats & {Format.F32, Format.F16} else Format.BF16


def _experts_of(source: ParameterSource) -> str | None:
    """Return what the experts that need the same format have in common; None for other matrices."""
    prefix, separator, rest = source.parameter.name.partition(".experts.")
    return f"{prefix} {'down' if rest.endswith('.proj.weight') else 'up'}" if separator else None


def _is_vocabulary(parameter: ParameterSpec) -> bool:
    return parameter.role == "embedding" or parameter.name == "lm_head.weight"
