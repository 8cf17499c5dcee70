"""Words for the rules that most families share."""

import re
from collections.abc import Iterable
from typing import Any

import attrs

from litgpt.domain.weights import Part, Rule

LAYERS = "model.layers.{}"
"""Where most families keep their layers."""


def layer_rule(ours: str, *theirs: str | Part, within: str = LAYERS, **how: Any) -> Rule:
    """Return the rule for a tensor that every layer has."""
    return Rule(f"transformer.h.{{}}.{ours}", tuple(_within(one, within) for one in theirs), **how)


def linear(ours: str, *theirs: str, within: str = LAYERS, **how: Any) -> tuple[Rule, ...]:
    """Return the rules for a weight and for the bias it may have; a norm has the same two."""
    return tuple(
        layer_rule(f"{ours}.{kind}", *(f"{one}.{kind}" for one in theirs), within=within, **how)
        for kind in ("weight", "bias")
    )


def whole(ours: str, theirs: str) -> tuple[Rule, ...]:
    """Return the rules for a weight and a bias that a model has once."""
    return tuple(Rule(f"{ours}.{kind}", (f"{theirs}.{kind}",)) for kind in ("weight", "bias"))


def reads(rule: Rule, names: Iterable[str]) -> bool:
    """Whether a tensor that a rule reads is among those of these names."""
    first = rule.theirs[0]
    pattern = re.escape(first.name if isinstance(first, Part) else first).replace(r"\{\}", r"\d+")
    return any(re.fullmatch(pattern, name) for name in names)


def _within(theirs: str | Part, within: str) -> str | Part:
    if isinstance(theirs, Part):
        return attrs.evolve(theirs, name=f"{within}.{theirs.name}")
    return f"{within}.{theirs}"
