"""`litgpt info --devices N`: what each of several devices will hold of a model."""

from collections.abc import Iterator
from typing import Any

import attrs

from litgpt.cli import console
from litgpt.cli.info import SHOWN
from litgpt.domain.architecture import Architecture
from litgpt.domain.errors import BadArgument, OutOfReach
from litgpt.domain.footprint import Footprint
from litgpt.domain.per_device import on_each
from litgpt.domain.placement import Strategy
from litgpt.domain.units import size

STRATEGIES: tuple[Strategy, ...] = ("sequential", "tensor_parallel")


@attrs.frozen
class Spread:
    """A model over several devices, in one way.

    Attributes:
        strategy: Which.
        needs: What each device needs with the whole context, by what weights are in.
        refused: Why the model cannot be spread so; None if it can.

    """

    strategy: Strategy
    needs: dict[str, tuple[Footprint, ...]]
    refused: str | None = None


def spreads(architecture: Architecture, devices: int) -> list[Spread]:
    """Return what each of several devices needs, in either way; nothing if there is only one.

    Raises:
        BadArgument: There cannot be so many.

    """
    if devices < 1:
        raise BadArgument("devices", devices, "an integer >= 1")
    return [_spread(architecture, devices, one) for one in STRATEGIES if devices > 1]


def show(found: list[Spread], devices: int) -> None:
    """Write the most that any of the devices needs, for each way."""
    console.show("")
    console.heading(f"On the fullest of {devices} devices, with the whole context")
    console.table([("", *SHOWN), *_rows(found)], indent=2, numbers=True)
    for one in found:
        if one.refused is not None:
            console.show(f"  {one.refused}")


def as_dict(found: list[Spread]) -> dict[str, Any]:
    """Return the same for programs, and for each device."""
    return {
        one.strategy: {
            "refused": one.refused,
            "needs": {
                name: [{**attrs.asdict(part), "total": part.total} for part in parts]
                for name, parts in one.needs.items()
            },
        }
        for one in found
    }


def _spread(architecture: Architecture, devices: int, strategy: Strategy) -> Spread:
    try:
        needs = {
            name: on_each(
                architecture,
                strategy=strategy,
                devices=devices,
                dtype=dtype,
                tokens=architecture.context,
                quantize=quantize,
            )
            for name, (dtype, quantize) in SHOWN.items()
        }
    except OutOfReach as error:
        return Spread(strategy, {}, str(error))
    return Spread(strategy, needs)


def _rows(found: list[Spread]) -> Iterator[tuple[str, ...]]:
    for one in found:
        most = (max(part.total for part in one.needs[name]) for name in one.needs)
        yield one.strategy, *(map(size, most) if one.needs else ("-" for _ in SHOWN))
