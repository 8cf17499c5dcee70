"""Open Hugging Face folders: `config.json` and safetensors, in a single file or indexed shards."""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from math import prod
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
from litgpt.domain.errors import InvalidCheckpoint, LitGPTError, MissingFile, UnsafeFile
from litgpt.domain.families import expected_shapes
from litgpt.domain.ports import Checkpoint
from litgpt.domain.progress import Reporter
from litgpt.domain.weights.raw_tensor import RawTensor
from litgpt.domain.weights.tensor_info import STORAGE_FORMATS, DType, TensorInfo

if TYPE_CHECKING:
    import torch

    from litgpt.domain.ports import TensorSource

PICKLE_PATTERNS = ("*.bin", "*.pt", "*.pth", "*.ckpt")
TRAINING_STATE_FILES = re.compile(
    r"(training_args|optimizer|scheduler|scaler|rng_state|random_states)([_.-].*)?", re.ASCII
)
"""Files without weights that trainers and Accelerate write next to a model."""

WEIGHT_PATTERNS = (*PICKLE_PATTERNS, "*.safetensors", "*.gguf")
MAX_NAMES = 5
"""The maximum number of file names in a note or an error."""


@attrs.frozen
class MappedTensors:
    """The tensors of memory-mapped safetensors files."""

    _stored: Mapping[str, tuple[MmapFile, TensorEntry]] = attrs.field(repr=False)
    tensors: Mapping[str, TensorInfo] = attrs.field(init=False, repr=False)

    @tensors.default
    def _infos(self) -> Mapping[str, TensorInfo]:
        return {name: entry.info for name, (_, entry) in self._stored.items()}

    def read(self, name: str, dtype: DType | None = None) -> "torch.Tensor":
        """Return a tensor: a view of the file in the stored dtype, otherwise a converted copy."""
        file, entry = self._stored[name]
        return file.tensor(name, entry, dtype)

    def raw(self, name: str) -> RawTensor | None:
        file, entry = self._stored[name]
        info = entry.info
        if info.storage_format not in STORAGE_FORMATS.values():
            return None
        row_numbers = range(prod(info.shape[:-1]))
        rows = file.raw_rows(info.storage_format, entry.start, info.nbytes, row_numbers)
        return RawTensor(info.shape, (rows,))

    def fetch(self, report: Reporter) -> None:
        """Do nothing: the weights are local."""

    def close(self) -> None:
        for file, _ in self._stored.values():
            file.release()


def open_hf_folder(
    path: Path, name: str, *, pending: HeaderBytes | None = None
) -> "Checkpoint[torch.Tensor]":
    """Open a Hugging Face folder, reading only its small files and the headers of its weights.

    If there are safetensors, other weight files are ignored. Quantized weights are presented, and read, as
    the dequantized weights. `pending` has the headers of weight files that are not downloaded yet, which must
    exist when a tensor is read.

    Raises:
        MissingFile: `config.json`, the weights or some shards are missing.
        CorruptFile: A file is truncated or contradicts itself.
        UnsafeFile: The only weights are a pickle.
        UnsupportedModel: The quantization format is not supported.
    """
    if not (path / "config.json").is_file():
        raise missing_file(path / "config.json", "it describes the architecture, which the weights do not.")
    stored_config = read_json(path / "config.json")
    located = _folder_tensors(name, stored_config, path, pending or {})
    checkpoint = folder_checkpoint(
        path,
        name,
        kind="folder",
        config=stored_config,
        notes=(*located.notes, *ignored_files(path, located.files)),
        source=MappedTensors(located.tensors),
    )
    return dequantized(checkpoint)


def folder_checkpoint(
    folder: Path,
    name: str,
    *,
    kind: str,
    config: Mapping[str, object],
    source: "TensorSource[torch.Tensor]",
    notes: tuple[str, ...] = (),
) -> "Checkpoint[torch.Tensor]":
    """Return the checkpoint in a folder, with the tokenizer and the settings in its small files.

    `kind` is the kind of folder, for messages.
    """
    tokenizer = tokenizer_files(folder)
    return Checkpoint(
        name=name,
        origin=f"the {kind} {folder}",
        folder=folder,
        path=folder,
        config=config,
        generation_config=read_optional_json(folder / "generation_config.json"),
        prompt_style=read_prompt_style(folder),
        notes=notes,
        read_tokenizer=lambda: tokenizer,
        source=source,
    )


def _folder_tensors(
    name: str, config: Mapping[str, object], folder: Path, pending: HeaderBytes
) -> FolderTensors:
    select_needed = partial(_needed_names, name, without_quantization(config))
    if SINGLE_FILE in pending or file_exists(folder / SINGLE_FILE):
        try:
            return read_single_file(folder / SINGLE_FILE, pending)
        except InvalidCheckpoint:
            if not file_exists(folder / INDEX_FILE):
                raise
        shards = read_shards(folder, pending, select_needed)
        note = f"{SINGLE_FILE} cannot be read; the shards listed in {INDEX_FILE} are used instead."
        return attrs.evolve(shards, notes=(*shards.notes, note))
    if file_exists(folder / INDEX_FILE):
        return read_shards(folder, pending, select_needed)
    raise _no_weights_error(folder)


def _needed_names(model: str, config: Mapping[str, object], names: Collection[str]) -> Collection[str]:
    """Return the tensor names that the model uses, directly or as parts of a packed weight."""
    weights = {name: {name, *_packed_weight_names(name)} for name in names}
    try:
        needed = expected_shapes(
            model, config, {weight for weights_of in weights.values() for weight in weights_of}
        )
    except LitGPTError:
        return names  # errors of the config are reported when the architecture is built
    return {name for name, candidates in weights.items() if candidates & needed.keys()}


def _packed_weight_names(tensor: str) -> Iterator[str]:
    """Yield names of weights that a tensor may be a part of: `x.qweight` is a part of `x.weight`."""
    levels = tensor.split(".")
    for end in range(1, len(levels)):
        yield ".".join((*levels[:end], "weight"))
    yield tensor.removesuffix("_blocks").removesuffix("_scales")  # MXFP4 experts


def _no_weights_error(folder: Path) -> LitGPTError:
    for name in (SINGLE_FILE, INDEX_FILE):
        if error := missing_file_error(folder / name):
            return error
    pickles = sorted(path for pattern in PICKLE_PATTERNS for path in folder.glob(pattern))
    for pickle in (path for path in pickles if not TRAINING_STATE_FILES.fullmatch(path.name)):
        return missing_file_error(pickle) or UnsafeFile(str(pickle), PICKLE_REMEDY)
    if others := sorted(path.name for path in folder.glob("*.safetensors"))[:MAX_NAMES]:
        names = ", ".join(others)
        reason = f"the folder has {names}, but neither a file of this name nor an index ({INDEX_FILE})."
    else:
        states = f", only {', '.join(path.name for path in pickles[:MAX_NAMES])}" if pickles else ""
        reason = f"the folder has no weights{states}. Save the model to it, or copy its safetensors there."
    return MissingFile(str(folder / SINGLE_FILE), reason)


PICKLE_REMEDY = (
    "Use the model's safetensors. If there are none and you trust the source, load the model with "
    "transformers and save it again with save_pretrained."
)


def ignored_files(folder: Path, read: Collection[str]) -> tuple[str, ...]:
    """Return a note on the weight files in a folder that are not read, if there are any."""
    ignored = sorted(
        {path.name for pattern in WEIGHT_PATTERNS for path in folder.glob(pattern) if path.name not in read}
    )
    if not ignored:
        return ()
    rest = f" and {len(ignored) - MAX_NAMES} more" if len(ignored) > MAX_NAMES else ""
    verb = "is" if len(ignored) == 1 else "are"
    return (f"{', '.join(ignored[:MAX_NAMES])}{rest} in its folder {verb} ignored.",)
