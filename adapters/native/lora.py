"""A model of the engine with an adapter, which shares the weights that the adapter does not change.

Updates of linear layers are computed beside them (`add_low_rank`); everything else is merged into copies of
the weights. Copies of quantized weights are in bfloat16, which does not round the update away.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from litgpt.adapters.native.matrix import PackedMatrix
from litgpt.adapters.native.model import NativeModel
from litgpt.adapters.native.program.instructions import Program
from litgpt.adapters.native.program.low_rank import add_low_rank, set_head
from litgpt.adapters.native.structures import Format, SourceFormat
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
    parts = _Parts(model.program, dict(model.weights), dict(model.vectors))
    if changes.unties_head:
        parts.matrices[_HEAD] = parts.matrices[_EMBEDDING]
        parts.program = set_head(parts.program, _HEAD)
    merged = parts.compute_beside(changes)
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

    def compute_beside(self, changes: WeightChanges[Floats]) -> dict[str, _Change]:
        """Add the products of low-rank updates to the program; return the changes that have to be merged."""
        self.program, computed = add_low_rank(self.program, changes.low_rank)
        merged = dict(changes.replaced)
        for layer, update in changes.low_rank.items():
            if layer in computed:
                self.matrices[f"{layer}.lora_A"] = _pack(Format.F32, update.lora_A)
                self.matrices[f"{layer}.lora_B"] = _pack(Format.F32, update.lora_B)
                if update.bias is not None:
                    self.vectors[f"{layer}.lora_bias"] = update.bias
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
                self.matrices[name] = _pack(_dense_format(old), change(old.unpack()))
                for other in self._quantized_experts(name):
                    if other not in changes:
                        self.matrices[other] = _pack(Format.BF16, self.matrices[other].unpack())
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


def _pack(target: Format, values: Floats) -> PackedMatrix:
    matrix = PackedMatrix.zeros(target, *values.shape)
    matrix.pack(SourceFormat.F32, np.ascontiguousarray(values, np.float32))
    return matrix
