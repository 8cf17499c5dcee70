"""Build the tensor mapping rules that most families share."""

import re
from collections.abc import Iterable
from typing import Any

import attrs

from litgpt.domain.weights import Part, Rule

LAYERS = "model.layers.{}"
"""Prefix of layers in most families."""


def layer_rule(ours: str, *theirs: str | Part, within: str = LAYERS, **how: Any) -> Rule:
    """Return the rule for a tensor of every layer."""
    return Rule(f"transformer.h.{{}}.{ours}", tuple(_within(source, within) for source in theirs), **how)


def linear(ours: str, *theirs: str, within: str = LAYERS, **how: Any) -> tuple[Rule, ...]:
    """Return the rules for the weight and bias of a linear layer or norm in every layer."""
    return tuple(
        layer_rule(f"{ours}.{kind}", *(f"{source}.{kind}" for source in theirs), within=within, **how)
        for kind in ("weight", "bias")
    )


def whole(ours: str, theirs: str) -> tuple[Rule, ...]:
    """Return the rules for the weight and bias of a module outside the layers."""
    return tuple(Rule(f"{ours}.{kind}", (f"{theirs}.{kind}",)) for kind in ("weight", "bias"))


def reads(rule: Rule, names: Iterable[str]) -> bool:
    """Return whether a rule's first tensor is among these names."""
    first = rule.theirs[0]
    pattern = re.escape(first.name if isinstance(first, Part) else first).replace(r"\{\}", r"\d+")
    return any(re.fullmatch(pattern, name) for name in names)


def _within(theirs: str | Part, within: str) -> str | Part:
    if isinstance(theirs, Part):
        return attrs.evolve(theirs, name=f"{within}.{theirs.name}")
    return f"{within}.{theirs}"
