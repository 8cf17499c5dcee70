"""The changes that an adapter makes to a model, for an engine with its own copy of the weights."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr

ArrayT = TypeVar("ArrayT")


@attrs.frozen(eq=False)
class LowRankUpdate(Generic[ArrayT]):
    """The update B A of a linear layer, whose output becomes W x + B (A x) + bias.

    Attributes:
        lora_A: (R, in), of all pairs of the layer one after another.
        lora_B: (out, R), with the scaling; zero where a pair does not change a row.
        bias: (out,), with the scaling; None: no bias.
    """

    lora_A: ArrayT
    lora_B: ArrayT
    bias: ArrayT | None

    __repr__ = brief_repr


@attrs.frozen(eq=False)
class WeightChanges(Generic[ArrayT]):
    """The changes of an active adapter.

    Attributes:
        low_rank: Updates of linear layers, by layer.
        replaced: Functions from the old values of a parameter, in float32, to the new ones, by parameter.
        unties_head: Whether a tied LM head differs from the embedding.
    """

    low_rank: Mapping[str, LowRankUpdate[ArrayT]]
    replaced: Mapping[str, Callable[[ArrayT], ArrayT]]
    unties_head: bool

    __repr__ = brief_repr
