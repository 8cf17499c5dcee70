"""Build the tensor mapping rules that most families share."""

import re
from collections.abc import Iterable
from typing import Any

import attrs

from litgpt.domain.weights.mapping import SourceSlice, WeightMapping

LAYERS = "model.layers.{}"
"""Prefix of layers in most families."""


def layer_tensor(
    name: str, *hf_names: str | SourceSlice, within: str = LAYERS, **options: Any
) -> WeightMapping:
    """Return the rule for a tensor of every layer."""
    return WeightMapping(
        f"transformer.h.{{}}.{name}", tuple(_within(source, within) for source in hf_names), **options
    )


def linear_tensors(
    name: str, *hf_names: str, within: str = LAYERS, **options: Any
) -> tuple[WeightMapping, ...]:
    """Return the rules for the weight and bias of a linear layer or norm in every layer."""
    return tuple(
        layer_tensor(f"{name}.{kind}", *(f"{source}.{kind}" for source in hf_names), within=within, **options)
        for kind in ("weight", "bias")
    )


def model_tensors(name: str, hf_name: str) -> tuple[WeightMapping, ...]:
    """Return the rules for the weight and bias of a module outside the layers."""
    return tuple(WeightMapping(f"{name}.{kind}", (f"{hf_name}.{kind}",)) for kind in ("weight", "bias"))


def matches(mapping: WeightMapping, names: Iterable[str]) -> bool:
    """Return whether a rule's first tensor is among these names."""
    first = mapping.hf_names[0]
    pattern = re.escape(first.name if isinstance(first, SourceSlice) else first).replace(r"\{\}", r"\d+")
    return any(re.fullmatch(pattern, name) for name in names)


def _within(source: str | SourceSlice, within: str) -> str | SourceSlice:
    if isinstance(source, SourceSlice):
        return attrs.evolve(source, name=f"{within}.{source.name}")
    return f"{within}.{source}"
