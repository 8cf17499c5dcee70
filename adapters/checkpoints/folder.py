"""A Hugging Face folder: `config.json`, and safetensors in one file or in an index of shards."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import attrs

from litgpt.adapters.checkpoints.mapped_file import MappedFile
from litgpt.adapters.checkpoints.quantised.checkpoint import QuantisedCheckpoint, dequantised
from litgpt.adapters.checkpoints.safetensors_header import LENGTH_BYTES, Entry, header_size, parse_header
from litgpt.adapters.checkpoints.small_files import (
    read_if_there,
    read_json,
    saved_prompt_style,
    tokenizer_files,
)
from litgpt.domain.errors import BadArgument, DamagedFile, MissingFile, UnsafeFile
from litgpt.domain.reporting import Report
from litgpt.domain.tensors import DType, TensorInfo
from litgpt.domain.vocabulary import TokenizerFiles

if TYPE_CHECKING:
    import torch

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")

Beginnings: TypeAlias = Mapping[str, tuple[bytes, int]]
"""Files by name: the first bytes of each, its whole header among them, and how many bytes it has in all."""


@attrs.define
class FolderCheckpoint:
    """A model in a Hugging Face folder. Its tensors are views of its files, which are mapped into memory."""

    name: str
    folder: Path
    config: Mapping[str, object] = attrs.field(repr=False)
    generation_config: Mapping[str, object] = attrs.field(repr=False)
    prompt_style: str | None
    tokenizer: TokenizerFiles = attrs.field(repr=False)
    _stored: Mapping[str, tuple[MappedFile, Entry]] = attrs.field(repr=False)

    @property
    def origin(self) -> str:
        """Where it is, in words."""
        return f"the folder {self.folder}"

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever loads it should be told: nothing."""
        return ()

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor it holds, by name."""
        return {name: entry.info for name, (_, entry) in self._stored.items()}

    def fetch(self, report: Report) -> None:
        """Do nothing: the weights are here."""

    def read(self, name: str, dtype: DType | None = None) -> "torch.Tensor":
        """Return a tensor: a view of its file in the dtype it is stored in, otherwise a converted copy.

        Raises:
            BadArgument: There is no tensor of this name.
            DamagedFile: The file has been cut short since it was opened.
            MissingFile: The file has gone since it was opened.
            UnsupportedModel: torch has no dtype for what is stored.

        """
        if name not in self._stored:
            raise BadArgument("name", name, f"one of the tensors of {self.name}")
        file, entry = self._stored[name]
        return file.tensor(name, entry, dtype)

    def close(self) -> None:
        """Let go of the files. Tensors that were read stay valid."""
        for file, _ in self._stored.values():
            file.release()


OpenedFolder: TypeAlias = FolderCheckpoint | QuantisedCheckpoint
"""A folder whose weights are plain, or one whose weights are packed and told as plain ones."""


def open_folder(path: Path, name: str, *, coming: Beginnings | None = None) -> OpenedFolder:
    """Open a Hugging Face folder: its small files and the headers of its weights, but no weights.

    Where it has safetensors, its other files of weights are ignored. Quantised weights are told, and read, as
    the plain ones that they stand for.

    Args:
        path: The folder.
        name: What it was asked for as.
        coming: Files of weights that are not in the folder yet. They have to be when a tensor is read.

    Raises:
        MissingFile: There is no `config.json`, no weights, or not all of their shards.
        DamagedFile: A file is cut short, or what it says of itself cannot be true.
        UnsafeFile: Its only weights are a pickle.
        UnsupportedModel: Its weights are quantised in a way that is not implemented.

    """
    if not (path / "config.json").is_file():
        raise MissingFile(
            str(path / "config.json"), "it says how the model is built, and the weights do not."
        )
    stored = FolderCheckpoint(
        name=name,
        folder=path,
        config=read_json(path / "config.json"),
        generation_config=read_if_there(path / "generation_config.json"),
        prompt_style=saved_prompt_style(path),
        tokenizer=tokenizer_files(path),
        stored=_stored(path, coming or {}),
    )
    return dequantised(stored)


def _stored(folder: Path, coming: Beginnings) -> dict[str, tuple[MappedFile, Entry]]:
    if SINGLE in coming or (folder / SINGLE).is_file():
        file, entries = _headed(folder / SINGLE, coming)
        return {name: (file, entry) for name, entry in entries.items()}
    if (folder / INDEX).is_file():
        return _sharded(folder, coming)
    for pattern in PICKLES:
        for pickle in sorted(folder.glob(pattern)):
            raise UnsafeFile(str(pickle), REMEDY)
    others = ", ".join(sorted(one.name for one in folder.glob("*.safetensors"))[:5])
    found = (
        f"the folder has {others}, but neither one file of this name nor an index ({INDEX})" if others else ""
    )
    raise MissingFile(str(folder / SINGLE), f"{found or 'the folder has no weights'}.")


REMEDY = (
    "Take the model's safetensors instead. If there are none and you trust where it comes from, load it with "
    "transformers and write it again with save_pretrained."
)


def _sharded(folder: Path, coming: Beginnings) -> dict[str, tuple[MappedFile, Entry]]:
    index = folder / INDEX
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise DamagedFile(str(index), "it has no 'weight_map' of tensors to files.")
    shards: dict[str, tuple[MappedFile, dict[str, Entry]]] = {}
    for shard in weight_map.values():
        if isinstance(shard, str) and shard in shards:
            continue
        if not isinstance(shard, str) or not _is_plain(shard):
            raise DamagedFile(str(index), f"it names {shard!r}, which is no safetensors file in this folder.")
        if shard not in coming and not (folder / shard).is_file():
            raise MissingFile(
                str(folder / shard), f"{INDEX} lists it as a part of the model. Copy it here too."
            )
        shards[shard] = _headed(folder / shard, coming)
    stored = {}
    for name, shard in weight_map.items():
        file, entries = shards[shard]
        if name not in entries:
            raise DamagedFile(str(file.path), f"it lacks the tensor {name!r}, which {INDEX} promises.")
        stored[name] = (file, entries[name])
    return stored


def _is_plain(shard: str) -> bool:
    """Whether a name can only be that of a file in the folder itself, on any operating system."""
    return shard.endswith(".safetensors") and not set(shard) & set("/\\:\0")


def _headed(path: Path, coming: Beginnings) -> tuple[MappedFile, dict[str, Entry]]:
    """Return a file and the tensors that its header lists."""
    if path.name in coming:
        beginning, size = coming[path.name]
        return MappedFile(path, size), parse_header(beginning, file_size=size, where=str(path))
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            beginning = file.read(LENGTH_BYTES)
            rest = header_size(beginning, file_size=size, where=str(path)) - LENGTH_BYTES
            beginning += file.read(rest)
    except OSError as error:
        raise DamagedFile(str(path), f"it cannot be read ({error.strerror}).") from error
    return MappedFile(path, size), parse_header(beginning, file_size=size, where=str(path))
