"""Choose the dtype of matrix products on a CPU for each weight format and instruction set.

Products with few rows (decode) are bound by memory bandwidth, products with many rows (prefill, training) by
arithmetic. On a CPU without bfloat16 instructions, torch's bfloat16 products with many rows are several times
slower than float32, so the stored weight is converted to float32, block by block. The measurements behind
the thresholds are in docs/decisions/arithmetic.md.
"""

from collections.abc import Set as AbstractSet
from typing import TypeAlias

import attrs

from litgpt.domain.distribution.placement import Hardware, Placement
from litgpt.domain.quantization import Quantization
from litgpt.domain.weights.tensor_info import DType

WeightFormat: TypeAlias = DType | Quantization
"""Storage format of weights."""

# Names of features are from /proc/cpuinfo on x86; ARM features begin with `neon_`.
_DTYPE_INSTRUCTIONS: dict[DType, frozenset[str]] = {
    "bfloat16": frozenset({"avx512_bf16", "amx_bf16", "neon_bf16"}),
    "float16": frozenset({"avx512_fp16", "amx_fp16", "neon_fp16"}),
}
# torch vectorizes products of packed 8-bit and 4-bit weights with these, and only for bfloat16 activations.
_PACKED_INSTRUCTIONS = frozenset({"avx2", "avx512f"})


@attrs.frozen(kw_only=True)
class MatmulPlan:
    """The computation of matrix products with weights of one format.

    Attributes:
        max_small_rows: Up to this number of rows, the stored weight is used directly; for more rows it is
            converted to `large_dtype` block by block. None: it is never converted.
        small_dtype: The dtype of products with few rows.
        large_dtype: The dtype of products with many rows, and of training.
        slowdown: Approximate time of a product with one row relative to bfloat16 weights, if far from 1. The
            slowdown of a decode step approaches it in large models.
    """

    max_small_rows: int | None
    small_dtype: DType
    large_dtype: DType
    slowdown: int = 1


def has_instructions(dtype: DType, cpu_features: AbstractSet[str]) -> bool:
    """Return whether a CPU has instructions for matrix products in a dtype."""
    return dtype == "float32" or not _DTYPE_INSTRUCTIONS[dtype].isdisjoint(cpu_features)


def plan_matmul(weights: WeightFormat, activations: DType, cpu_features: AbstractSet[str]) -> MatmulPlan:
    """Return the plan of matrix products on a CPU."""
    native = has_instructions(activations, cpu_features)
    large: DType = activations if native else "float32"
    packed = activations == "bfloat16" and not _PACKED_INSTRUCTIONS.isdisjoint(cpu_features)
    small, rows, slowdown = activations, None if native else 2, 1
    match weights:
        case "int8" | "int4" if packed:
            rows = 64 if weights == "int4" else 8 if native else 16
        case "int8" | "int4":
            small, rows, slowdown = large, 0, 20 if weights == "int4" else 2
        case "bnb.int8":
            slowdown = 5
        case "bnb.nf4" | "bnb.nf4-dq" | "bnb.fp4" | "bnb.fp4-dq":
            slowdown = 10
    return MatmulPlan(max_small_rows=rows, small_dtype=small, large_dtype=large, slowdown=slowdown)


def describe_matmul(weights: WeightFormat, activations: DType, cpu_features: AbstractSet[str]) -> str:
    """Return a description of the matrix products on a CPU."""
    plan = plan_matmul(weights, activations, cpu_features)
    if plan.small_dtype == plan.large_dtype:
        return f"{weights} weights; {plan.small_dtype} arithmetic"
    return (
        f"{weights} weights; one token: {plan.small_dtype}, prompts and training: {plan.large_dtype} "
        f"arithmetic (this CPU has no {activations} instructions)"
    )


def describe_placed_matmul(placement: Placement, hardware: Hardware) -> str:
    """Return a description of the weight format and the matrix products of a placed model."""
    weights = placement.quantize or placement.dtype
    if placement.engine == "native":
        return f"weights {'as stored' if placement.keeps_quantization else f'in {weights}'}; native engine"
    if placement.engine == "transformers":
        return f"{weights} weights; transformers"
    if placement.device.startswith("cpu"):
        return describe_matmul(weights, placement.dtype, hardware.cpu_features)
    return f"{weights} weights; {placement.dtype} arithmetic"


def slow_placement_warning(placement: Placement, hardware: Hardware) -> str | None:
    """Return a warning if a CPU has no fast product for a model's weights, else None."""
    if placement.engine != "torch" or not placement.device.startswith("cpu"):
        return None
    weights, activations = placement.quantize or placement.dtype, placement.dtype
    slowdown = plan_matmul(weights, activations, hardware.cpu_features).slowdown
    if slowdown == 1:
        return None
    packed = plan_matmul(weights, "bfloat16", hardware.cpu_features).slowdown == 1
    remedy = "Use precision='bf16-true'" if packed else "Use it only to save memory"
    return (
        f"quantize={weights!r} with {activations} activations has no fast kernel on this CPU: weights are "
        f"dequantized for each token, so a product takes about {slowdown} times as long as in bfloat16. "
        f"{remedy}."
    )
