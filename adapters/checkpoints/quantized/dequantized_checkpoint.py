"""The packed weights of a quantized folder as plain ones: Hugging Face's names and true shapes."""

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
    """The weights of a folder that stores them packed. Each is dequantized when it is read.

    Attributes:
        tensors: Every weight, by name. Its bytes are those of all its parts.

    """

    tensors: Mapping[str, TensorInfo] = attrs.field(repr=False)
    _where: str
    _stored: "TensorSource[torch.Tensor]"
    _packed: Mapping[str, PackedWeight] = attrs.field(repr=False)

    def read(self, name: str, dtype: DType | None = None) -> "torch.Tensor":
        """Return a tensor: dequantized in float32 and then converted, or as it is stored.

        Raises:
            CorruptFile: Its parts contradict each other, or a file has been cut short.
            MissingFile: A file has gone since it was opened.

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
        """Let go of the files. Tensors that were read stay valid."""
        self._stored.close()


def dequantized(
    stored: "TensorSource[torch.Tensor]", *, name: str, folder: Path, config: Mapping[str, object]
) -> tuple["TensorSource[torch.Tensor]", Mapping[str, object], tuple[str, ...]]:
    """Return the plain weights of a folder, its config without quantization, and what to report of it.

    Args:
        stored: The tensors as they are stored; if they are not quantized, they are returned.
        name: The name of the model in an error.
        folder: The folder.
        config: The contents of its `config.json`.

    Raises:
        UnsupportedModel: The format, or a setting of it, is not implemented.
        CorruptFile: A part of a weight is missing, or has a dtype or a shape that cannot be right.

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
    """Return the plain tensors, and each packed one in the place of the first of its parts."""
    made_of = {part: name for name, one in packed.items() for part in one.parts.values()}
    presented: dict[str, TensorInfo] = {}
    for stored, info in tensors.items():
        if stored in made_of:
            name = made_of[stored]
            one = packed[name]
            nbytes = sum(tensors[part].nbytes for part in one.parts.values())
            presented.setdefault(name, TensorInfo(one.shape, one.storage_format, nbytes))
        elif not any(fnmatchcase(stored, pattern) for pattern in packing.ignored):
            presented[stored] = info
    return presented
