"""A model of the engine with an adapter, which shares the weights that the adapter does not change.

Updates of linear layers are computed beside them (`NativeAdapter`); everything else is merged into copies of
the weights. Copies of quantized weights are in bfloat16, which does not round the update away.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from litgpt.adapters.native.low_rank import NativeAdapter, pack_matrix, updatable_layers
from litgpt.adapters.native.matrix import PackedMatrix
from litgpt.adapters.native.model import NativeModel
from litgpt.adapters.native.program.compiler import set_head
from litgpt.adapters.native.program.instructions import Program
from litgpt.adapters.native.structures import Format
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.lora.weight_changes import WeightChanges

Floats: TypeAlias = NDArray[np.float32]
_Change: TypeAlias = Callable[[Floats], Floats]

_EMBEDDING, _HEAD, _HEAD_BIAS = "transformer.wte.weight", "lm_head.weight", "lm_head.bias"


def adapt_model(model: NativeModel, changes: WeightChanges[Floats]) -> NativeModel:
    """Return the model with an adapter.

    Raises:
        UnsupportedOperation: The adapter changes a parameter that the model does not have.
        InsufficientSpace: Memory could not be allocated.
    """
    layers = updatable_layers(model.program)
    low_rank = {layer: update for layer, update in changes.low_rank.items() if layer in layers}
    if changes.unties_head or changes.replaced or len(low_rank) < len(changes.low_rank):
        model = _merge(model, changes)
    return model.with_adapter(model.new_adapter(low_rank) if low_rank else None)


def request_adapter(model: NativeModel, name: str, changes: WeightChanges[Floats]) -> NativeAdapter:
    """Return an adapter for single sequences of the model, beside others.

    Raises:
        UnsupportedOperation: The adapter changes more than linear layers.
        InsufficientSpace: Memory could not be allocated.
    """
    layers = updatable_layers(model.program)
    others = [*changes.replaced, *(layer for layer in changes.low_rank if layer not in layers)]
    if others or changes.unties_head or not changes.low_rank:
        what = f", such as {others[0]}" if others else ""
        raise UnsupportedOperation(
            f"Using the adapter {name!r} for single requests",
            f"it changes more than linear layers{what}. Activate it for all requests with set_adapter().",
        )
    return model.new_adapter(changes.low_rank)


def _merge(model: NativeModel, changes: WeightChanges[Floats]) -> NativeModel:
    """Return a model with all changes of an adapter but the updates of linear layers."""
    parts = _Parts(model.program, dict(model.weights), dict(model.vectors))
    if changes.unties_head:
        parts.matrices[_HEAD] = parts.matrices[_EMBEDDING]
        parts.program = set_head(parts.program, _HEAD)
    merged = parts.changes_to_merge(changes)
    if _HEAD not in parts.matrices:  # a tied head changes with the embedding
        merged.pop(_HEAD, None)
    if _HEAD_BIAS in merged and _HEAD_BIAS not in parts.vectors:
        parts.vectors[_HEAD_BIAS] = np.zeros(model.architecture.vocab_size, np.float32)
        weight = _HEAD if _HEAD in parts.matrices else _EMBEDDING
        parts.program = set_head(parts.program, weight, _HEAD_BIAS)
    parts.merge(merged)
    return NativeModel(
        model.architecture, parts.program, parts.matrices, parts.vectors, cache_format=model.cache_format
    )


@attrs.define
class _Parts:
    """The parts of the model with the adapter."""

    program: Program
    matrices: dict[str, PackedMatrix]
    vectors: dict[str, Floats]

    def changes_to_merge(self, changes: WeightChanges[Floats]) -> dict[str, _Change]:
        merged, layers = dict(changes.replaced), updatable_layers(self.program)
        for layer, update in changes.low_rank.items():
            if layer in layers:
                continue
            weight, bias = f"{layer}.weight", f"{layer}.bias"
            merged[weight] = _sum(merged.get(weight), update.lora_B @ update.lora_A)
            if update.bias is not None:
                merged[bias] = _sum(merged.get(bias), update.bias)
        return merged

    def merge(self, changes: dict[str, _Change]) -> None:
        """Replace the parameters that change by copies."""
        for name, change in changes.items():
            if name in self.matrices:
                old = self.matrices[name]
                self.matrices[name] = pack_matrix(_dense_format(old), change(old.unpack()))
                for other in self._quantized_experts(name):
                    if other not in changes:
                        self.matrices[other] = pack_matrix(Format.BF16, self.matrices[other].unpack())
            elif name in self.vectors:
                self.vectors[name] = change(self.vectors[name])
            else:
                reason = f"it does not have {name}, which the adapter changes."
                raise UnsupportedOperation("The adapter in the native engine", reason)

    def _quantized_experts(self, name: str) -> Iterator[str]:
        """Yield the quantized experts in the layer of a merged one: all must have the same format."""
        experts, separator, _ = name.partition(".experts.")
        for other, matrix in list(self.matrices.items()) if separator else ():
            is_quantized = matrix.format is not _dense_format(matrix)
            if is_quantized and other.startswith(f"{experts}{separator}"):
                yield other


def _sum(change: _Change | None, delta: Floats) -> _Change:
    return lambda old: (old if change is None else change(old)) + delta


def _dense_format(matrix: PackedMatrix) -> Format:
    return matrix.format if matrix.format in (Format.F32, Format.BF16, Format.F16) else Format.BF16
