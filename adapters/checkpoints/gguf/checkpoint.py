"""GGUF files as checkpoints with Hugging Face names and settings."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.files.mmap_file import MmapFile
from litgpt.adapters.checkpoints.files.safetensors_header import TensorEntry
from litgpt.adapters.checkpoints.gguf.dequantize.dequantize import TensorPlan, dequantize
from litgpt.adapters.checkpoints.gguf.maps import architecture_map_of
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.reader.metadata import GgufMetadata
from litgpt.adapters.checkpoints.gguf.reader.split_files import read_split_files
from litgpt.adapters.checkpoints.gguf.vocabulary import eog_token_ids, read_vocabulary, token_id
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.progress import Reporter
from litgpt.domain.tokenizer_source import GgufVocabulary
from litgpt.domain.weights.tensor_info import DType, TensorInfo

if TYPE_CHECKING:
    from torch import Tensor


@attrs.define(slots=False)
class GgufCheckpoint:
    """A model in one or several GGUF files; `config` is the equivalent of `config.json`."""

    name: str
    path: Path
    config: Mapping[str, object] = attrs.field(repr=False)
    _metadata: GgufMetadata = attrs.field(repr=False)
    _tensor_plans: Mapping[str, TensorPlan] = attrs.field(repr=False)
    _mapped: dict[Path, MmapFile] = attrs.field(factory=dict, init=False, repr=False)

    @property
    def origin(self) -> str:
        return f"the GGUF file {self.path}"

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def prompt_style(self) -> None:
        """None: GGUF files contain a chat template but no prompt style."""
        return

    @property
    def generation_config(self) -> Mapping[str, object]:
        """The BOS and EOS token ids, as in `generation_config.json`."""
        ids = {
            "bos_token_id": token_id(self._metadata, "bos"),
            "eos_token_id": [*eog_token_ids(self._metadata)],
        }
        return {key: value for key, value in ids.items() if value not in (None, [])}

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    @cached_property
    def tokenizer(self) -> GgufVocabulary:
        """The vocabulary, which is read on first access."""
        return read_vocabulary(self._metadata)

    @cached_property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return {name: plan.info for name, plan in self._tensor_plans.items()}

    def fetch(self, report: Reporter) -> None:
        """Do nothing: the weights are local."""

    def read(self, name: str, dtype: DType | None = None) -> "Tensor":
        """Return a tensor: a memory-mapped view if it is stored in this form, otherwise a converted copy.

        A mapped tensor may be modified; the file is not changed.
        """
        plan = self._tensor_plans.get(name)
        if plan is None:
            raise InvalidArgument("name", name, f"one of the tensors of {self.name}")
        stored = plan.chunks[0].tensor
        target_dtype = dtype or stored.quant_type.dtype or "float32"
        if target_dtype != stored.quant_type.dtype or not plan.is_unchanged:
            return dequantize(plan, target_dtype)
        path, size = stored.file.path, stored.file.size
        mapped = self._mapped.setdefault(path, MmapFile(path, size))
        return mapped.tensor(name, TensorEntry(self.tensors[name], stored.start), dtype)

    def close(self) -> None:
        self._mapped.clear()


def open_gguf(path: Path, name: str) -> GgufCheckpoint:
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
    config, plans = architecture_map.config(model), architecture_map.tensor_plans(model)
    return GgufCheckpoint(name, path, config, metadata, plans)
