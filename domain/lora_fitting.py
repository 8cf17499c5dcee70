"""Where the pairs of a saved adapter belong in a model, and which of them do not fit."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from litgpt.domain.lora import Adapter, Pair
from litgpt.domain.lora_places import Place

TensorT = TypeVar("TensorT")


def by_name(those: Iterable[Place]) -> dict[str, list[Place]]:
    """Return places by name; those of stacked experts have the same."""
    found: dict[str, list[Place]] = {}
    for place in those:
        for name in dict.fromkeys((place.name, place.former)):
            if name is not None:
                found.setdefault(name, []).append(place)
    return found


def named(those: Mapping[str, list[Place]], name: str) -> list[Place]:
    """Return the places that another's adapter calls so; models of text and more have a level more."""
    return those.get(name) or those.get(plain_name(name), [])


def plain_name(name: str) -> str:
    """Return a name without the level that models of text and more have."""
    return ".".join(part for part in name.split(".") if part != "language_model")


def fitting(
    those: Sequence[Place], adapter: Adapter[TensorT], shape: Callable[[TensorT], tuple[int, ...]]
) -> tuple[list[tuple[Place, Pair[TensorT]]], list[str], list[str]]:
    """Return each pair of an adapter that was saved and its places, what is unknown, and what is misshapen.

    Args:
        those: Where a pair can be.
        adapter: The adapter.
        shape: Returns a tensor's.

    """
    index = by_name(those)
    found: list[tuple[Place, Pair[TensorT]]] = []
    unknown: list[str] = []
    misshapen: list[str] = []
    for module, pair in adapter.pairs.items():
        at = named(index, module)
        if not at:
            unknown.append(module)
            continue
        shapes: tuple[tuple[int, ...], ...] = (shape(pair.a), shape(pair.b))
        expected: tuple[tuple[int, ...], ...] = at[0].shapes(pair.rank)
        for tensor, size in ((pair.bias, at[0].outputs), (pair.magnitude, at[0].magnitudes)):
            if tensor is not None:
                shapes, expected = (*shapes, shape(tensor)), (*expected, (size,))
        if shapes != expected:
            was, wanted = (" and ".join(str(list(one)) for one in both) for both in (shapes, expected))
            misshapen.append(f"{module} is {was}, expected {wanted}")
        found += ((place, pair) for place in at)
    return found, unknown, misshapen
