"""Weight quantization: formats, quantized parameters and their memory."""

from math import prod
from typing import Literal, TypeAlias, get_args

from litgpt.domain.model import ParameterSpec
from litgpt.domain.weights.tensor_info import DTYPE_BYTES, DType

Quantization: TypeAlias = Literal[
    "int8", "int4", "bnb.nf4", "bnb.nf4-dq", "bnb.fp4", "bnb.fp4-dq", "bnb.int8"
]
"""`int8` and `int4` are built in; formats with the prefix `bnb.` require bitsandbytes."""

QUANTIZATIONS: tuple[Quantization, ...] = get_args(Quantization)

GROUP_SIZE = 32
"""Weights of a row that share a scale and zero point in `int4`."""

BNB_BLOCK_SIZE = 64
"""Weights that share a scale in the 4-bit formats of bitsandbytes; `-dq` also quantizes these scales."""

BNB_SCALES_BLOCK_SIZE = 256
"""Quantized scales that share a scale in `-dq`."""


def is_quantized(parameter: ParameterSpec) -> bool:
    """Return whether quantization applies to a parameter: a projection that is not marked exact."""
    return (
        len(parameter.shape) == 2
        and parameter.role in ("projection", "output")
        and not parameter.skip_quantization
    )


def parameter_bytes(parameter: ParameterSpec, dtype: DType, quantize: Quantization | None) -> int:
    """Return the memory of a parameter in bytes, in a model with this dtype and quantization."""
    if quantize is None or not is_quantized(parameter):
        return prod(parameter.shape) * DTYPE_BYTES[dtype]
    rows, columns = parameter.shape
    numbers, blocks = rows * columns, -(-rows * columns // BNB_BLOCK_SIZE)
    match quantize:
        case "int8":
            return numbers + 2 * rows
        case "int4":
            groups = -(-columns // GROUP_SIZE)
            return rows * groups * (GROUP_SIZE // 2 + 4)
        case "bnb.int8":
            return numbers + 4 * rows
        case "bnb.nf4" | "bnb.fp4":
            return (numbers + 1) // 2 + 4 * blocks
        case "bnb.nf4-dq" | "bnb.fp4-dq":
            return (numbers + 1) // 2 + blocks + 4 * -(-blocks // BNB_SCALES_BLOCK_SIZE)
