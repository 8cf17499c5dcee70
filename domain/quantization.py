"""Weights in fewer bits: the ways there are, which parameters they are for, and the bytes that these take."""

from math import prod
from typing import Literal, TypeAlias, get_args

from litgpt.domain.parameters import Parameter
from litgpt.domain.tensors import BYTES, DType

Quantization: TypeAlias = Literal[
    "int8", "int4", "bnb.nf4", "bnb.nf4-dq", "bnb.fp4", "bnb.fp4-dq", "bnb.int8"
]
"""`int8` and `int4` are our own and need nothing; those that begin with `bnb.` are of bitsandbytes."""

QUANTIZATIONS: tuple[Quantization, ...] = get_args(Quantization)

GROUP = 32
"""How many weights of a row share a scale and a zero point in `int4`."""

BLOCK = 64
"""How many weights share a scale in four bits of bitsandbytes, whose `-dq` packs these scales in turn."""

SCALES_BLOCK = 256
"""How many of those scales share one of their own."""


def is_quantised(parameter: Parameter) -> bool:
    """Return whether a parameter is one that is put in fewer bits: a projection that is not exact."""
    return len(parameter.shape) == 2 and parameter.role in ("projection", "output") and not parameter.exact


def parameter_bytes(parameter: Parameter, dtype: DType, quantize: Quantization | None) -> int:
    """Return the memory that a parameter takes.

    Args:
        parameter: Which.
        dtype: What a model is in.
        quantize: How its projections are quantised, if they are.

    """
    if quantize is None or not is_quantised(parameter):
        return prod(parameter.shape) * BYTES[dtype]
    rows, columns = parameter.shape
    numbers, blocks = rows * columns, -(-rows * columns // BLOCK)
    match quantize:
        case "int8":
            return numbers + 2 * rows
        case "int4":
            groups = -(-columns // GROUP)
            return rows * groups * (GROUP // 2 + 4)
        case "bnb.int8":
            return numbers + 4 * rows
        case "bnb.nf4" | "bnb.fp4":
            return (numbers + 1) // 2 + 4 * blocks
        case "bnb.nf4-dq" | "bnb.fp4-dq":
            return (numbers + 1) // 2 + blocks + 4 * -(-blocks // SCALES_BLOCK)
