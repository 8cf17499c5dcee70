"""Match a saved adapter's LoRA matrices to the modules of a model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from litgpt.domain.lora import Adapter, Pair
from litgpt.domain.lora_places import Place

TensorT = TypeVar("TensorT")


def by_name(those: Iterable[Place]) -> dict[str, list[Place]]:
    """Return places by name; stacked experts share a name."""
    index: dict[str, list[Place]] = {}
    for place in those:
        for name in dict.fromkeys((place.name, place.former)):
            if name is not None:
                index.setdefault(name, []).append(place)
    return index


def named(those: Mapping[str, list[Place]], name: str) -> list[Place]:
    """Return the places of a name in an adapter, which may have the prefix of multimodal models."""
    return those.get(name) or those.get(plain_name(name), [])


def plain_name(name: str) -> str:
    """Return a name without the `language_model` part of multimodal models."""
    return ".".join(part for part in name.split(".") if part != "language_model")


def fitting(
    those: Sequence[Place], adapter: Adapter[TensorT], shape: Callable[[TensorT], tuple[int, ...]]
) -> tuple[list[tuple[Place, Pair[TensorT]]], list[str], list[str]]:
    """Match a saved adapter's LoRA matrices to places.

    Args:
        those: The places that can be adapted.
        adapter: The adapter.
        shape: Function that returns a tensor's shape.

    Returns:
        Matched places and LoRA matrices, unknown modules, and descriptions of shape mismatches.

    """
    index = by_name(those)
    matched: list[tuple[Place, Pair[TensorT]]] = []
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
            actual, wanted = (" and ".join(str(list(size)) for size in sizes) for sizes in (shapes, expected))
            misshapen.append(f"{module} is {actual}, expected {wanted}")
        matched += ((place, pair) for place in at)
    return matched, unknown, misshapen
