"""Present a quantized checkpoint as dequantized weights with Hugging Face names and shapes."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.quantized.quant_format import PackedWeight, QuantFormat, Shape, StoredTensors
from litgpt.adapters.checkpoints.quantized.registry import quant_format_of, without_quantization
from litgpt.domain.errors import CorruptFile
from litgpt.domain.families import expected_shapes
from litgpt.domain.progress import Reporter
from litgpt.domain.weights.raw_tensor import RawTensor
from litgpt.domain.weights.tensor_info import DType, TensorInfo

if TYPE_CHECKING:
    import torch

    from litgpt.domain.ports import Checkpoint, TensorSource


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
        """Return a tensor: dequantized in float32 and converted to `dtype`, or as it is stored."""
        if name not in self._packed:
            return self._stored.read(name, dtype)
        import torch

        packed = self._packed[name]
        with self._named_errors(name):
            return packed.unpack(self._parts(packed), getattr(torch, dtype or "float32"))

    def raw(self, name: str) -> RawTensor | None:
        if name not in self._packed:
            return self._stored.raw(name)
        packed = self._packed[name]
        with self._named_errors(name):
            return None if packed.blocks is None else packed.blocks(self._parts(packed))

    @contextmanager
    def _named_errors(self, name: str) -> Iterator[None]:
        """Raise CorruptFile if the parts of a weight contradict each other."""
        try:
            yield
        except ValueError as error:
            raise CorruptFile(self._where, f"{name} cannot be dequantized: {error}.") from error

    def _parts(self, packed: PackedWeight) -> "dict[str, torch.Tensor]":
        return {role: self._stored.read(part) for role, part in packed.parts.items()}

    def fetch(self, report: Reporter) -> None:
        self._stored.fetch(report)

    def close(self) -> None:
        self._stored.close()


def dequantized(checkpoint: "Checkpoint[torch.Tensor]") -> "Checkpoint[torch.Tensor]":
    """Return a checkpoint with dequantized weights; the checkpoint itself if they are not quantized.

    Raises:
        UnsupportedModel: The format, or one of its settings, is not supported.
        CorruptFile: A part of a weight is missing, or has an invalid dtype or shape.
    """
    name, tensors = checkpoint.name, checkpoint.tensors
    packing = quant_format_of(name, checkpoint.config)
    if packing is None:
        return checkpoint
    config, where = without_quantization(checkpoint.config), str(checkpoint.folder)

    def expected(names: Iterable[str]) -> Mapping[str, Shape]:
        return expected_shapes(name, config, names)

    packed = packing.packed_weights(StoredTensors(where, tensors, expected))
    note = f"the weights are {packing.description}; an engine without this format dequantizes them."
    return attrs.evolve(
        checkpoint,
        config=config,
        notes=(*checkpoint.notes, note) if packed else checkpoint.notes,
        source=DequantizedTensors(_presented(tensors, packed, packing), where, checkpoint.source, packed),
    )


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
