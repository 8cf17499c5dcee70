"""In which arithmetic a CPU multiplies by weights of each format: the fastest that its instructions allow.

A product with few rows (a token that is generated) is bound by the bytes that it reads, one with many (a
prompt, training) by arithmetic. Where a CPU has no instructions for bfloat16, torch's products with many rows
of it are several times slower than in float32, so these convert the stored weight to float32, block by block.
The figures behind the thresholds are in docs/decisions/arithmetic.md.
"""

from collections.abc import Set as AbstractSet
from typing import TypeAlias

import attrs

from litgpt.domain.distribution.placement import Hardware, Placement
from litgpt.domain.quantization import Quantization
from litgpt.domain.weights.tensor_info import DType

WeightFormat: TypeAlias = DType | Quantization
"""What weights are stored in."""

# Features are named as /proc/cpuinfo has them on x86; those of ARM begin with `neon_`.
_DTYPE_INSTRUCTIONS: dict[DType, frozenset[str]] = {
    "bfloat16": frozenset({"avx512_bf16", "amx_bf16", "neon_bf16"}),
    "float16": frozenset({"avx512_fp16", "amx_fp16", "neon_fp16"}),
}
# torch's products of packed 8 and 4 bits are vectorized with these, and with them for bfloat16 alone.
_PACKED_INSTRUCTIONS = frozenset({"avx2", "avx512f"})


@attrs.frozen(kw_only=True)
class MatmulPlan:
    """How products with weights of a format are computed.

    Attributes:
        max_small_rows: With at most so many rows the stored weight is multiplied as it is; with more it is
            converted to `large_dtype` first, block by block. None: it is never converted.
        small_dtype: The arithmetic with few rows.
        large_dtype: The arithmetic with many rows, and of training.
        slowdown: About how many times as long a product with one row takes as with bfloat16 weights, where
            that is far from 1. The larger the model, the nearer all of a step comes to this.

    """

    max_small_rows: int | None
    small_dtype: DType
    large_dtype: DType
    slowdown: int = 1


def has_instructions(dtype: DType, cpu_features: AbstractSet[str]) -> bool:
    """Return whether a CPU has instructions for products in a dtype."""
    return dtype == "float32" or not _DTYPE_INSTRUCTIONS[dtype].isdisjoint(cpu_features)


def plan_matmul(weights: WeightFormat, activations: DType, cpu_features: AbstractSet[str]) -> MatmulPlan:
    """Return how a CPU multiplies.

    Args:
        weights: The format of the weights.
        activations: The dtype of what they are multiplied with.
        cpu_features: What the CPU has.

    """
    native = has_instructions(activations, cpu_features)
    many: DType = activations if native else "float32"
    match weights:
        case "float32" | "bfloat16" | "float16":
            return MatmulPlan(max_small_rows=None if native else 2, small_dtype=activations, large_dtype=many)
        case "int8" | "int4":
            if activations == "bfloat16" and not _PACKED_INSTRUCTIONS.isdisjoint(cpu_features):
                rows = 64 if weights == "int4" else 8 if native else 16
                return MatmulPlan(max_small_rows=rows, small_dtype="bfloat16", large_dtype=many)
            return MatmulPlan(
                max_small_rows=0, small_dtype=many, large_dtype=many, slowdown=20 if weights == "int4" else 2
            )
        case _:
            slowdown = 5 if weights == "bnb.int8" else 10
            return MatmulPlan(
                max_small_rows=None if native else 2,
                small_dtype=activations,
                large_dtype=many,
                slowdown=slowdown,
            )


def describe_matmul(weights: WeightFormat, activations: DType, cpu_features: AbstractSet[str]) -> str:
    """Return how a CPU multiplies, in words."""
    how = plan_matmul(weights, activations, cpu_features)
    said = f"{weights} weights; "
    if how.small_dtype == how.large_dtype:
        return said + f"{how.small_dtype} arithmetic"
    lacks = f"this CPU has no {activations} instructions"
    return (
        said + f"one token: {how.small_dtype}, prompts and training: {how.large_dtype} arithmetic ({lacks})"
    )


def slow_matmul_warning(
    weights: WeightFormat, activations: DType, cpu_features: AbstractSet[str]
) -> str | None:
    """Return a warning where every way to multiply is slow on a CPU; None where one is not."""
    slowdown = plan_matmul(weights, activations, cpu_features).slowdown
    if slowdown == 1:
        return None
    packed = plan_matmul(weights, "bfloat16", cpu_features).slowdown == 1
    remedy = "Use precision='bf16-true'" if packed else "Use it for its memory alone"
    return (
        f"quantize={weights!r} with {activations} activations has no fast product on this CPU: weights are "
        f"dequantized for each token, and a product takes about {slowdown} times as long as in bfloat16. "
        f"{remedy}."
    )


def describe_placed_matmul(placement: Placement, hardware: Hardware) -> str:
    """Return what a placed model's weights are in and how they are multiplied, in words."""
    weights = placement.quantize or placement.dtype
    if placement.device.startswith("cpu"):
        return describe_matmul(weights, placement.dtype, hardware.cpu_features)
    return f"{weights} weights; {placement.dtype} arithmetic"


def slow_placement_warning(placement: Placement, hardware: Hardware) -> str | None:
    """Return what to tell of weights that nothing multiplies fast where they are; None if something does."""
    if not placement.device.startswith("cpu"):
        return None
    return slow_matmul_warning(placement.quantize or placement.dtype, placement.dtype, hardware.cpu_features)
