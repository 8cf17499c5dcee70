"""A GGUF file as a checkpoint: Hugging Face's names and settings, tensors on demand."""

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
    """A model in a GGUF file, or in several that belong together.

    Attributes:
        name: What it was asked for as.
        path: The file.
        config: What `config.json` would say.

    """

    name: str
    path: Path
    config: Mapping[str, object] = attrs.field(repr=False)
    _metadata: GgufMetadata = attrs.field(repr=False)
    _tensor_plans: Mapping[str, TensorPlan] = attrs.field(repr=False)
    _mapped: dict[Path, MmapFile] = attrs.field(factory=dict, init=False, repr=False)

    @property
    def origin(self) -> str:
        """Where it is, in words."""
        return f"the GGUF file {self.path}"

    @property
    def folder(self) -> Path:
        """The folder it lies in."""
        return self.path.parent

    @property
    def prompt_style(self) -> None:
        """A GGUF file carries a chat template, never the name of a prompt style."""
        return

    @property
    def generation_config(self) -> Mapping[str, object]:
        """The tokens that begin and end a text, as `generation_config.json` would give them."""
        ids = {
            "bos_token_id": token_id(self._metadata, "bos"),
            "eos_token_id": [*eog_token_ids(self._metadata)],
        }
        return {key: value for key, value in ids.items() if value not in (None, [])}

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever loads it should be told: nothing."""
        return ()

    @cached_property
    def tokenizer(self) -> GgufVocabulary:
        """The vocabulary, read when it is first asked for.

        Raises:
            CorruptFile: A part of it is missing, or the parts do not fit each other.
            UnsupportedModel: It is of a kind that is not implemented.

        """
        return read_vocabulary(self._metadata)

    @cached_property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor, by Hugging Face's name."""
        return {name: place.info for name, place in self._tensor_plans.items()}

    def fetch(self, report: Reporter) -> None:
        """Do nothing: the weights are here."""

    def read(self, name: str, dtype: DType | None = None) -> "Tensor":
        """Return a tensor, mapped where the file has just that in this dtype, else converted or dequantized.

        A mapped tensor may be written to; the file stays as it is.

        Raises:
            InvalidArgument: There is no tensor of this name.
            CorruptFile: The file does not hold what its header promised.
            InsufficientSpace: The system does not allow a mapping of the file's size.

        """
        place = self._tensor_plans.get(name)
        if place is None:
            raise InvalidArgument("name", name, f"one of the tensors of {self.name}")
        stored = place.chunks[0].tensor
        wanted = dtype or stored.quant_type.dtype or "float32"
        if wanted != stored.quant_type.dtype or not place.is_unchanged:
            return dequantize(place, wanted)
        path, size = stored.file.path, stored.file.size
        mapped = self._mapped.setdefault(path, MmapFile(path, size))
        return mapped.tensor(name, TensorEntry(self.tensors[name], stored.start), dtype)

    def close(self) -> None:
        """Let go of mapped files. Tensors that were read keep theirs."""
        self._mapped.clear()


def open_gguf(path: Path, name: str) -> GgufCheckpoint:
    """Open a GGUF file by its header; its weights and its vocabulary are read when they are asked for.

    Args:
        path: The file; for a model in several, any of them.
        name: What the caller asked for, to be named in errors.

    Raises:
        MissingFile: The file, or another part of the model, is not there.
        CorruptFile: It is no GGUF file, was cut short, or contradicts itself.
        UnsupportedModel: Its architecture, or a way in which it stores weights, is not implemented.

    """
    metadata, tensors = read_split_files(path)
    named = architecture_map_of(metadata)
    source = GgufModel(named.architecture, metadata, tensors)
    dialect = named.select_variant(source)
    return GgufCheckpoint(name, path, dialect.config(source), metadata, dialect.tensor_plans(source))
