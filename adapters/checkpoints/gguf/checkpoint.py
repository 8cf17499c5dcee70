"""GGUF files as checkpoints with Hugging Face names and settings."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.files.mmap_file import MmapFile
from litgpt.adapters.checkpoints.files.safetensors_header import TensorEntry
from litgpt.adapters.checkpoints.gguf.dequantize.dequantize import TensorPlan, dequantize
from litgpt.adapters.checkpoints.gguf.maps import architecture_map_of
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.reader.file import GgufFile
from litgpt.adapters.checkpoints.gguf.reader.metadata import GgufMetadata
from litgpt.adapters.checkpoints.gguf.reader.split_files import read_split_files
from litgpt.adapters.checkpoints.gguf.vocabulary import eog_token_ids, read_vocabulary, token_id
from litgpt.domain.ports import Checkpoint
from litgpt.domain.progress import Reporter
from litgpt.domain.weights.raw_tensor import RawRows, RawTensor
from litgpt.domain.weights.tensor_info import DType, TensorInfo

if TYPE_CHECKING:
    from torch import Tensor


@attrs.define
class GgufTensors:
    """The tensors of one or several GGUF files."""

    _plans: Mapping[str, TensorPlan] = attrs.field(repr=False)
    tensors: Mapping[str, TensorInfo] = attrs.field(init=False, repr=False)
    _mapped: dict[Path, MmapFile] = attrs.field(factory=dict, init=False, repr=False)
    _raw: dict[str, RawTensor | None] = attrs.field(factory=dict, init=False, repr=False)

    @tensors.default
    def _infos(self) -> Mapping[str, TensorInfo]:
        return {name: plan.info for name, plan in self._plans.items()}

    def fetch(self, report: Reporter) -> None:
        """Do nothing: the weights are local."""

    def read(self, name: str, dtype: DType | None = None) -> "Tensor":
        """Return a tensor: a memory-mapped view if it is stored in this form, otherwise a converted copy.

        A mapped tensor may be modified; the file is not changed.
        """
        plan = self._plans[name]
        stored = plan.chunks[0].tensor
        target_dtype = dtype or stored.quant_type.dtype or "float32"
        if target_dtype != stored.quant_type.dtype or not plan.is_unchanged:
            return dequantize(plan, target_dtype)
        return self._map(stored.file).tensor(name, TensorEntry(plan.info, stored.start), dtype)

    def raw(self, name: str) -> RawTensor | None:
        """Return the stored bytes of a tensor that the file has row by row, or column by column."""
        if name not in self._raw:
            self._raw[name] = self._find_rows(self._plans[name])
        return self._raw[name]

    def _find_rows(self, plan: TensorPlan) -> RawTensor | None:
        if plan.exponential:
            return None
        for transposed in (False, True) if len(plan.shape) > 1 else (False,):
            if (parts := self._raw_parts(plan, transposed=transposed)) is not None:
                return RawTensor(plan.shape, parts, transposed, plan.offset)
        return None

    def _raw_parts(self, plan: TensorPlan, *, transposed: bool) -> tuple[RawRows, ...] | None:
        parts: list[RawRows] = []
        for chunk in plan.chunks:
            if (row_numbers := chunk.row_numbers(plan.shape, transposed=transposed)) is None:
                return None
            stored = chunk.tensor
            mapped = self._map(stored.file)
            parts.append(mapped.raw_rows(stored.quant_type.name, stored.start, stored.nbytes, row_numbers))
        return tuple(parts)

    def _map(self, file: GgufFile) -> MmapFile:
        if (mapped := self._mapped.get(file.path)) is None:
            mapped = self._mapped[file.path] = MmapFile(file.path, file.size)
        return mapped

    def close(self) -> None:
        self._mapped.clear()
        self._raw.clear()


def open_gguf(path: Path, name: str) -> "Checkpoint[Tensor]":
    """Open a GGUF file by its header; weights and vocabulary are read on demand.

    `path` may be any file of a split model.

    Raises:
        MissingFile: The file, or another file of a split model, does not exist.
        CorruptFile: It is not a GGUF file, is truncated, or contradicts itself.
        UnsupportedModel: The architecture or a quantization type is not supported.
    """
    metadata, tensors = read_split_files(path)
    base_map = architecture_map_of(metadata)
    model = GgufModel(base_map.architecture, metadata, tensors)
    architecture_map = base_map.select_variant(model)
    return Checkpoint(
        name=name,
        origin=f"the GGUF file {path}",
        folder=path.parent,
        path=path,
        config=architecture_map.config(model),
        generation_config=_special_tokens(metadata),
        read_tokenizer=partial(read_vocabulary, metadata),
        source=GgufTensors(architecture_map.tensor_plans(model)),
    )


def _special_tokens(metadata: GgufMetadata) -> Mapping[str, object]:
    """Return the BOS and EOS token ids, as in `generation_config.json`."""
    ids = {"bos_token_id": token_id(metadata, "bos"), "eos_token_id": [*eog_token_ids(metadata)]}
    return {key: value for key, value in ids.items() if value not in (None, [])}
