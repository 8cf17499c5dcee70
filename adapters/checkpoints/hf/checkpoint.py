"""A Hugging Face folder: `config.json`, and safetensors in one file or in an index of shards."""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.files.file_checks import file_exists, missing_file, missing_file_error
from litgpt.adapters.checkpoints.files.mmap_file import MmapFile
from litgpt.adapters.checkpoints.files.safetensors_header import TensorEntry
from litgpt.adapters.checkpoints.hf.config_files import (
    read_json,
    read_optional_json,
    read_prompt_style,
    tokenizer_files,
)
from litgpt.adapters.checkpoints.hf.safetensors_index import (
    INDEX_FILE,
    SINGLE_FILE,
    FolderTensors,
    HeaderBytes,
    read_shards,
    read_single_file,
)
from litgpt.adapters.checkpoints.quantized.dequantized_checkpoint import dequantized
from litgpt.adapters.checkpoints.quantized.registry import without_quantization
from litgpt.domain.errors import InvalidArgument, InvalidCheckpoint, LitGPTError, MissingFile, UnsafeFile
from litgpt.domain.families import expected_shapes
from litgpt.domain.progress import Reporter
from litgpt.domain.tokenizer_source import TokenizerFiles
from litgpt.domain.weights.tensor_info import DType, TensorInfo

if TYPE_CHECKING:
    import torch

    from litgpt.domain.ports import TensorSource

PICKLE_PATTERNS = ("*.bin", "*.pt", "*.pth", "*.ckpt")
TRAINING_STATE_FILES = re.compile(
    r"(training_args|optimizer|scheduler|scaler|rng_state|random_states)([_.-].*)?", re.ASCII
)
"""Files that trainers and Accelerate write beside a model, which hold no weights."""

WEIGHT_PATTERNS = (*PICKLE_PATTERNS, "*.safetensors", "*.gguf")
MAX_NAMES = 5
"""Files that a note or an error lists."""


@attrs.frozen
class MappedTensors:
    """The tensors of safetensors files, which are mapped into memory."""

    _stored: Mapping[str, tuple[MmapFile, TensorEntry]] = attrs.field(repr=False)
    tensors: Mapping[str, TensorInfo] = attrs.field(init=False, repr=False)

    @tensors.default
    def _infos(self) -> Mapping[str, TensorInfo]:
        return {name: entry.info for name, (_, entry) in self._stored.items()}

    def read(self, name: str, dtype: DType | None = None) -> "torch.Tensor":
        """Return a tensor: a view of its file in the dtype it is stored in, otherwise a converted copy.

        Raises:
            CorruptFile: The file has been cut short since it was opened.
            MissingFile: The file has gone since it was opened.
            UnsupportedModel: torch does not have the dtype that is stored.

        """
        file, entry = self._stored[name]
        return file.tensor(name, entry, dtype)

    def close(self) -> None:
        """Let go of the files. Tensors that were read stay valid."""
        for file, _ in self._stored.values():
            file.release()


@attrs.define
class HFCheckpoint:
    """A model in a Hugging Face folder. Its tensors are views of mapped files, or dequantized when read.

    Attributes:
        config: The contents of `config.json`, without the `quantization_config` of dequantized weights.
        notes: Which files and tensors in the folder are ignored, and how the weights are quantized.

    """

    name: str
    folder: Path
    config: Mapping[str, object] = attrs.field(repr=False)
    generation_config: Mapping[str, object] = attrs.field(repr=False)
    prompt_style: str | None
    tokenizer: TokenizerFiles = attrs.field(repr=False)
    _source: "TensorSource[torch.Tensor]" = attrs.field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Where it is, in words."""
        return f"the folder {self.folder}"

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor it holds, by name."""
        return self._source.tensors

    def fetch(self, report: Reporter) -> None:
        """Do nothing: the weights are here."""

    def read(self, name: str, dtype: DType | None = None) -> "torch.Tensor":
        """Return a tensor: see `MappedTensors.read` and `DequantizedTensors.read`.

        Raises:
            InvalidArgument: There is no tensor of this name.

        """
        if name not in self._source.tensors:
            raise InvalidArgument("name", name, f"one of the tensors of {self.name}")
        return self._source.read(name, dtype)

    def close(self) -> None:
        """Let go of the files. Tensors that were read stay valid."""
        self._source.close()


def open_hf_folder(path: Path, name: str, *, pending: HeaderBytes | None = None) -> HFCheckpoint:
    """Open a Hugging Face folder: its small files and the headers of its weights, but no weights.

    Where it has safetensors, its other files of weights are ignored. Quantized weights are told, and read, as
    the plain ones that they stand for.

    Args:
        path: The folder.
        name: What it was asked for as.
        pending: Files of weights that are not in the folder yet. They have to be when a tensor is read.

    Raises:
        MissingFile: There is no `config.json`, no weights, or not all of their shards.
        CorruptFile: A file is cut short, or what it says of itself cannot be true.
        UnsafeFile: Its only weights are a pickle.
        UnsupportedModel: Its weights are quantized in a way that is not implemented.

    """
    if not (path / "config.json").is_file():
        raise missing_file(path / "config.json", "it says how the model is built, and the weights do not.")
    stored_config = read_json(path / "config.json")
    found = _folder_tensors(name, stored_config, path, pending or {})
    stored = MappedTensors(found.tensors)
    source, config, notes = dequantized(stored, name=name, folder=path, config=stored_config)
    return HFCheckpoint(
        name=name,
        folder=path,
        config=config,
        generation_config=read_optional_json(path / "generation_config.json"),
        prompt_style=read_prompt_style(path),
        tokenizer=tokenizer_files(path),
        source=source,
        notes=(*found.notes, *ignored_files(path, found.files), *notes),
    )


def _folder_tensors(
    name: str, config: Mapping[str, object], folder: Path, pending: HeaderBytes
) -> FolderTensors:
    needed_of = partial(_needed_names, name, without_quantization(config))
    if SINGLE_FILE in pending or file_exists(folder / SINGLE_FILE):
        try:
            return read_single_file(folder / SINGLE_FILE, pending)
        except InvalidCheckpoint:
            if not file_exists(folder / INDEX_FILE):
                raise
        found = read_shards(folder, pending, needed_of)
        return attrs.evolve(
            found, notes=(*found.notes, f"{SINGLE_FILE} cannot be read; {INDEX_FILE} is, in its place.")
        )
    if file_exists(folder / INDEX_FILE):
        return read_shards(folder, pending, needed_of)
    raise _no_weights_error(folder)


def _needed_names(name: str, config: Mapping[str, object], names: Collection[str]) -> Collection[str]:
    """Return those of some names that a model is read from, or that are parts of packed weights which are."""
    stands_for = {one: {one, *_packed_weight_names(one)} for one in names}
    try:
        needed = expected_shapes(name, config, {one for those in stands_for.values() for one in those})
    except LitGPTError:
        return names  # what is wrong with the config is said where the model is understood
    return {one for one, those in stands_for.items() if those & needed.keys()}


def _packed_weight_names(tensor: str) -> Iterator[str]:
    """Yield the names of weights that a tensor may be a part of: `x.qweight` is one of `x.weight`."""
    levels = tensor.split(".")
    for end in range(1, len(levels)):
        yield ".".join((*levels[:end], "weight"))
    yield tensor.removesuffix("_blocks").removesuffix("_scales")  # of MXFP4's experts


def _no_weights_error(folder: Path) -> LitGPTError:
    """Return the error for a folder without weights that can be read."""
    for one in (SINGLE_FILE, INDEX_FILE):
        if error := missing_file_error(folder / one):
            return error
    pickles = sorted(one for pattern in PICKLE_PATTERNS for one in folder.glob(pattern))
    for pickle in (one for one in pickles if not TRAINING_STATE_FILES.fullmatch(one.name)):
        return missing_file_error(pickle) or UnsafeFile(str(pickle), PICKLE_REMEDY)
    if others := sorted(one.name for one in folder.glob("*.safetensors"))[:MAX_NAMES]:
        names = ", ".join(others)
        reason = f"the folder has {names}, but neither a file of this name nor an index ({INDEX_FILE})."
    else:
        states = f" beside {', '.join(one.name for one in pickles[:MAX_NAMES])}" if pickles else ""
        reason = f"the folder has no weights{states}. Save the model to it, or copy its safetensors there."
    return MissingFile(str(folder / SINGLE_FILE), reason)


PICKLE_REMEDY = (
    "Take the model's safetensors instead. If there are none and you trust where it comes from, load it with "
    "transformers and write it again with save_pretrained."
)


def ignored_files(folder: Path, read: Collection[str]) -> tuple[str, ...]:
    """Return a note on the files of weights in a folder that are not read, if there are any."""
    found = sorted(
        {one.name for pattern in WEIGHT_PATTERNS for one in folder.glob(pattern) if one.name not in read}
    )
    if not found:
        return ()
    more = f" and {len(found) - MAX_NAMES} more" if len(found) > MAX_NAMES else ""
    verb = "is" if len(found) == 1 else "are"
    return (f"{', '.join(found[:MAX_NAMES])}{more} in its folder {verb} ignored.",)
