"""Match a saved adapter's LoRA matrices to the modules of a model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from litgpt.domain.lora.config import LoraAdapter, LoraWeights
from litgpt.domain.lora.targets import LoraTarget

TensorT = TypeVar("TensorT")


def targets_by_name(targets: Iterable[LoraTarget]) -> dict[str, list[LoraTarget]]:
    """Return targets by name; stacked experts share a name."""
    index: dict[str, list[LoraTarget]] = {}
    for target in targets:
        for name in dict.fromkeys((target.name, target.legacy_name)):
            if name is not None:
                index.setdefault(name, []).append(target)
    return index


def resolve_target(targets: Mapping[str, list[LoraTarget]], name: str) -> list[LoraTarget]:
    """Return the targets with a name in an adapter, which may have the prefix of multimodal models."""
    return targets.get(name) or targets.get(text_model_name(name), [])


def text_model_name(name: str) -> str:
    """Return a name without the `language_model` part of multimodal models."""
    return ".".join(part for part in name.split(".") if part != "language_model")


def match_adapter(
    targets: Sequence[LoraTarget], adapter: LoraAdapter[TensorT], shape: Callable[[TensorT], tuple[int, ...]]
) -> tuple[list[tuple[LoraTarget, LoraWeights[TensorT]]], list[str], list[str]]:
    """Match a saved adapter's LoRA matrices to targets.

    Returns matched targets and LoRA matrices, unknown modules, and descriptions of shape mismatches.
    """
    index = targets_by_name(targets)
    matched: list[tuple[LoraTarget, LoraWeights[TensorT]]] = []
    unknown: list[str] = []
    misshapen: list[str] = []
    for module, pair in adapter.weights.items():
        matches = resolve_target(index, module)
        if not matches:
            unknown.append(module)
            continue
        shapes: tuple[tuple[int, ...], ...] = (shape(pair.lora_A), shape(pair.lora_B))
        expected: tuple[tuple[int, ...], ...] = matches[0].shapes(pair.rank)
        for tensor, size in (
            (pair.bias, matches[0].out_features),
            (pair.magnitude, matches[0].magnitude_size),
        ):
            if tensor is not None:
                shapes, expected = (*shapes, shape(tensor)), (*expected, (size,))
        if shapes != expected:
            texts = (" and ".join(str(list(size)) for size in sizes) for sizes in (shapes, expected))
            misshapen.append(f"{module} is {', expected '.join(texts)}")
        matched += ((target, pair) for target in matches)
    return matched, unknown, misshapen
