"""A parameter of a network: its name, shape and role."""

from collections.abc import Iterator
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.model.sharding import RANK0_ONLY, REPLICATED, Sharding

ParameterRole: TypeAlias = Literal[
    "projection", "output", "embedding", "bias", "norm", "norm_from_1", "buffer"
]
"""Role of a parameter, which determines its initialization.

A `buffer` is in float32 and not trained; an `output` projects back into the residual stream; a
`norm_from_1` multiplies by `1 + weight`.
"""


@attrs.frozen
class ParameterSpec:
    """A parameter of the model.

    Attributes:
        name: LitGPT's name, such as `transformer.h.0.attn.qkv.weight`.
        split_sizes: Rows of each fused piece, such as Q, K and V; they sum to `shape[0]`.
        num_groups: Number of key-value heads of a fused projection, by which checkpoints may interleave
            pieces.
        num_experts: Number of experts, for a parameter of an expert.
        init_value: Initial value of all elements; None uses the default of the role.
        head_dim: Rows per head, by which checkpoints may interleave pieces.
        skip_quantization: Whether the parameter is not quantized, as it is small and sensitive.
        sharding: How tensor parallelism divides it over ranks.
    """

    name: str
    shape: tuple[int, ...]
    split_sizes: tuple[int, ...]
    role: ParameterRole = "projection"
    num_groups: int = 1
    num_experts: int = 1
    init_value: float | None = None
    head_dim: int = 1
    skip_quantization: bool = False
    sharding: Sharding = REPLICATED


def tensor(
    name: str, *shape: int, role: ParameterRole = "projection", sharding: Sharding = REPLICATED
) -> ParameterSpec:
    """Return a parameter that consists of a single piece."""
    return ParameterSpec(name, shape, shape[:1], role, sharding=sharding)


def linear(
    name: str,
    out_features: int,
    in_features: int,
    *,
    bias: bool = False,
    role: ParameterRole = "projection",
    sharding: Sharding = REPLICATED,
) -> Iterator[ParameterSpec]:
    """Yield the weight of a linear layer, divided by `sharding`, and its bias."""
    yield tensor(f"{name}.weight", out_features, in_features, role=role, sharding=sharding)
    if bias:
        by_bias = RANK0_ONLY if sharding.dim == 1 else sharding
        yield tensor(f"{name}.bias", out_features, role="bias", sharding=by_bias)
