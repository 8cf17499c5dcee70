"""Present a quantized checkpoint as dequantized weights with Hugging Face names and shapes."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.quantized.quant_format import PackedWeight, QuantFormat, Shape, StoredTensors
from litgpt.adapters.checkpoints.quantized.registry import quant_format_of, without_quantization
from litgpt.domain.errors import CorruptFile
from litgpt.domain.families import expected_shapes
from litgpt.domain.weights.tensor_info import DType, TensorInfo

if TYPE_CHECKING:
    import torch

    from litgpt.domain.ports import TensorSource


@attrs.frozen
class DequantizedTensors:
    """The tensors of a quantized checkpoint. Weights are dequantized when they are read.

    Attributes:
        tensors: All weights, by name. The size of a packed weight is the total of its parts.

    """

    tensors: Mapping[str, TensorInfo] = attrs.field(repr=False)
    _where: str
    _stored: "TensorSource[torch.Tensor]"
    _packed: Mapping[str, PackedWeight] = attrs.field(repr=False)

    def read(self, name: str, dtype: DType | None = None) -> "torch.Tensor":
        """Return a tensor: dequantized in float32 and converted to `dtype`, or as it is stored.

        Raises:
            CorruptFile: The parts of the weight contradict each other, or a file was truncated.
            MissingFile: A file was removed after it was opened.

        """
        if name not in self._packed:
            return self._stored.read(name, dtype)
        import torch

        packed = self._packed[name]
        parts = {role: self._stored.read(part) for role, part in packed.parts.items()}
        try:
            return packed.unpack(parts, getattr(torch, dtype or "float32"))
        except ValueError as error:
            raise CorruptFile(self._where, f"{name} cannot be dequantized: {error}.") from error

    def close(self) -> None:
        """Release the files. Tensors that were read remain valid."""
        self._stored.close()


def dequantized(
    stored: "TensorSource[torch.Tensor]", *, name: str, folder: Path, config: Mapping[str, object]
) -> tuple["TensorSource[torch.Tensor]", Mapping[str, object], tuple[str, ...]]:
    """Return the dequantized weights of a folder, its config without quantization, and notes.

    Args:
        stored: The stored tensors; they are returned unchanged if they are not quantized.
        name: The model name in errors.
        folder: The folder.
        config: The contents of `config.json`.

    Raises:
        UnsupportedModel: The format, or one of its settings, is not supported.
        CorruptFile: A part of a weight is missing, or has an invalid dtype or shape.

    """
    packing = quant_format_of(name, config)
    if packing is None:
        return stored, config, ()
    config, tensors = without_quantization(config), stored.tensors

    def expected(names: Iterable[str]) -> Mapping[str, Shape]:
        return expected_shapes(name, config, names)

    packed = packing.packed_weights(StoredTensors(str(folder), tensors, expected))
    presented = _presented(tensors, packed, packing)
    note = f"it is {packing.description}; its weights are dequantized while they are loaded."
    source = DequantizedTensors(presented, str(folder), stored, packed)
    return source, config, (note,) if packed else ()


def _presented(
    tensors: Mapping[str, TensorInfo], packed: Mapping[str, PackedWeight], packing: QuantFormat
) -> dict[str, TensorInfo]:
    """Return the unpacked tensors, with each packed weight in the place of its first part."""
    weight_of = {part: name for name, weight in packed.items() for part in weight.parts.values()}
    presented: dict[str, TensorInfo] = {}
    for stored, info in tensors.items():
        if stored in weight_of:
            name = weight_of[stored]
            weight = packed[name]
            nbytes = sum(tensors[part].nbytes for part in weight.parts.values())
            presented.setdefault(name, TensorInfo(weight.shape, weight.storage_format, nbytes))
        elif not any(fnmatchcase(stored, pattern) for pattern in packing.ignored):
            presented[stored] = info
    return presented
