"""In which arithmetic a CPU multiplies by weights of each format: the fastest that its instructions allow.

A product with few rows (a token that is generated) is bound by the bytes that it reads, one with many (a
prompt, training) by arithmetic. Where a CPU has no instructions for bfloat16, torch's products with many rows
of it are several times slower than in float32, so these convert the stored weight to float32, block by block.
The figures behind the thresholds are in docs/decisions/arithmetic.md.
"""

from collections.abc import Set as AbstractSet
from typing import TypeAlias

import attrs

from litgpt.domain.placement import Hardware, Placement
from litgpt.domain.quantization import Quantization
from litgpt.domain.tensors import DType

Format: TypeAlias = DType | Quantization
"""What weights are stored in."""

# Features are named as /proc/cpuinfo has them on x86; those of ARM begin with `neon_`.
_INSTRUCTIONS: dict[DType, frozenset[str]] = {
    "bfloat16": frozenset({"avx512_bf16", "amx_bf16", "neon_bf16"}),
    "float16": frozenset({"avx512_fp16", "amx_fp16", "neon_fp16"}),
}
# torch's products of packed 8 and 4 bits are vectorized with these, and with them for bfloat16 alone.
_PACKED = frozenset({"avx2", "avx512f"})


@attrs.frozen(kw_only=True)
class Arithmetic:
    """How products with weights of a format are computed.

    Attributes:
        few_rows: With at most so many rows the stored weight is multiplied as it is; with more it is
            converted to `many` first, block by block. None: it is never converted.
        few: The arithmetic with few rows.
        many: The arithmetic with many rows, and of training.
        slowdown: About how many times as long a product with one row takes as with bfloat16 weights, where
            that is far from 1. The larger the model, the nearer all of a step comes to this.

    """

    few_rows: int | None
    few: DType
    many: DType
    slowdown: int = 1


def computes(dtype: DType, features: AbstractSet[str]) -> bool:
    """Return whether a CPU has instructions for products in a dtype."""
    return dtype == "float32" or not _INSTRUCTIONS[dtype].isdisjoint(features)


def arithmetic(weights: Format, activations: DType, features: AbstractSet[str]) -> Arithmetic:
    """Return how a CPU multiplies.

    Args:
        weights: The format of the weights.
        activations: The dtype of what they are multiplied with.
        features: What the CPU has.

    """
    native = computes(activations, features)
    many: DType = activations if native else "float32"
    match weights:
        case "float32" | "bfloat16" | "float16":
            return Arithmetic(few_rows=None if native else 2, few=activations, many=many)
        case "int8" | "int4":
            if activations == "bfloat16" and not _PACKED.isdisjoint(features):
                rows = 64 if weights == "int4" else 8 if native else 16
                return Arithmetic(few_rows=rows, few="bfloat16", many=many)
            return Arithmetic(few_rows=0, few=many, many=many, slowdown=20 if weights == "int4" else 2)
        case _:
            slowdown = 5 if weights == "bnb.int8" else 10
            return Arithmetic(few_rows=None if native else 2, few=activations, many=many, slowdown=slowdown)


def told(weights: Format, activations: DType, features: AbstractSet[str]) -> str:
    """Return how a CPU multiplies, in words."""
    how = arithmetic(weights, activations, features)
    said = f"{weights} weights; "
    if how.few == how.many:
        return said + f"{how.few} arithmetic"
    lacks = f"this CPU has no {activations} instructions"
    return said + f"one token: {how.few}, prompts and training: {how.many} arithmetic ({lacks})"


def cost(weights: Format, activations: DType, features: AbstractSet[str]) -> str | None:
    """Return a warning where every way to multiply is slow on a CPU; None where one is not."""
    slowdown = arithmetic(weights, activations, features).slowdown
    if slowdown == 1:
        return None
    packed = arithmetic(weights, "bfloat16", features).slowdown == 1
    remedy = "Use precision='bf16-true'" if packed else "Use it for its memory alone"
    return (
        f"quantize={weights!r} with {activations} activations has no fast product on this CPU: weights are "
        f"dequantized for each token, and a product takes about {slowdown} times as long as in bfloat16. "
        f"{remedy}."
    )


def arithmetic_of(placement: Placement, hardware: Hardware) -> str:
    """Return what a placed model's weights are in and how they are multiplied, in words."""
    weights = placement.quantize or placement.dtype
    if placement.device.startswith("cpu"):
        return told(weights, placement.dtype, hardware.cpu_features)
    return f"{weights} weights; {placement.dtype} arithmetic"


def slowness(placement: Placement, hardware: Hardware) -> str | None:
    """Return what to tell of weights that nothing multiplies fast where they are; None if something does."""
    if not placement.device.startswith("cpu"):
        return None
    return cost(placement.quantize or placement.dtype, placement.dtype, hardware.cpu_features)
