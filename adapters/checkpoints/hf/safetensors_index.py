"""Which file of a folder each tensor is in: one file of safetensors, or shards that an index lists.

An index may be wrong where it does not matter: it may promise a tensor that is not there, list a shard that
was left out, or not list a tensor that a shard holds. What the model has no use for is no reason to refuse
it, and is said to be ignored.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeAlias

import attrs

from litgpt.adapters.checkpoints.files.file_checks import missing_file, missing_file_error
from litgpt.adapters.checkpoints.files.mmap_file import MmapFile
from litgpt.adapters.checkpoints.files.safetensors_header import TensorEntry, parse_header, read_header
from litgpt.adapters.checkpoints.hf.config_files import read_json
from litgpt.domain.errors import CorruptFile, InvalidCheckpoint

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

HeaderBytes: TypeAlias = Mapping[str, tuple[bytes, int]]
"""Files by name: the first bytes of each, its whole header among them, and how many bytes it has in all."""

SelectNeeded: TypeAlias = Callable[[Collection[str]], Collection[str]]
"""Returns those of some names of tensors that the model is read from."""

TensorLocations: TypeAlias = dict[str, tuple[MmapFile, TensorEntry]]


@attrs.frozen
class FolderTensors:
    """The tensors of a folder.

    Attributes:
        tensors: Each tensor's file, and where in it the tensor is.
        files: The names of the files that are read.
        notes: What was wrong and does not matter.

    """

    tensors: TensorLocations
    files: frozenset[str]
    notes: tuple[str, ...] = ()


def read_single_file(path: Path, pending: HeaderBytes) -> FolderTensors:
    """Return the tensors of one file.

    Raises:
        CorruptFile: It is cut short, or what it says of itself cannot be true.
        MissingFile: There is a Git LFS pointer, or a dangling link, in its place.

    """
    file, entries = open_shard(path, pending)
    return FolderTensors({name: (file, entry) for name, entry in entries.items()}, frozenset({path.name}))


def read_shards(folder: Path, pending: HeaderBytes, select_needed: SelectNeeded) -> FolderTensors:
    """Return the tensors of the shards that the index of a folder lists.

    Args:
        folder: The folder.
        pending: Files of weights that are not in the folder yet.
        select_needed: Asked only where something is missing or is not listed.

    Raises:
        CorruptFile: The index or a shard contradicts itself, or a shard lacks a tensor that is needed.
        MissingFile: A shard that is needed is not there.

    """
    index = folder / INDEX_FILE
    weight_map = _weight_map(index)
    shards: dict[str, tuple[MmapFile, dict[str, TensorEntry]]] = {}
    lost: dict[str, InvalidCheckpoint] = {}
    for shard in dict.fromkeys(weight_map.values()):
        try:
            shards[shard] = open_shard(folder / shard, pending)
        except InvalidCheckpoint as error:
            lost[shard] = error
    stored: TensorLocations = {}
    broken: dict[str, InvalidCheckpoint] = {}
    for name, shard in weight_map.items():
        if shard in lost:
            broken[name] = lost[shard]
        elif name in shards[shard][1]:
            stored[name] = (shards[shard][0], shards[shard][1][name])
        else:
            said = f"it lacks the tensor {name!r}, which {INDEX_FILE} promises."
            broken[name] = CorruptFile(str(folder / shard), said)
    unlisted = {
        name: (file, entry)
        for file, entries in shards.values()
        for name, entry in entries.items()
        if name not in stored
    }
    if not broken and not unlisted:
        return FolderTensors(stored, frozenset(shards))
    needed = select_needed({**weight_map, **unlisted})
    stored |= {name: unlisted[name] for name in unlisted if name in needed}
    for name, reason in broken.items():
        if name in needed and name not in stored:
            raise reason
    return FolderTensors(stored, frozenset(shards), _notes(broken, lost, stored))


def _notes(broken: Collection[str], lost: Collection[str], stored: TensorLocations) -> tuple[str, ...]:
    promised = [name for name in broken if name not in stored]
    notes = []
    if promised:
        few = ", ".join(promised[:3]) + (", …" if len(promised) > 3 else "")
        said = "a tensor that is" if len(promised) == 1 else f"{len(promised)} tensors that are"
        notes.append(f"{INDEX_FILE} lists {said} not there and not needed ({few}).")
    if lost:
        notes.append(f"{', '.join(sorted(lost))} cannot be read, and nothing of it is needed.")
    return tuple(notes)


def _weight_map(index: Path) -> dict[str, str]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CorruptFile(str(index), "it has no 'weight_map' of tensors to files.")
    for shard in weight_map.values():
        if not isinstance(shard, str) or not _is_plain(shard):
            raise CorruptFile(str(index), f"it names {shard!r}, not a safetensors file in this folder.")
    return weight_map


def listed_files(folder: Path) -> set[str]:
    """Return the names of the files that the index of a folder lists; none if no index can be read."""
    try:
        return {*_weight_map(folder / INDEX_FILE).values()} if (folder / INDEX_FILE).is_file() else set()
    except InvalidCheckpoint:
        return set()


def _is_plain(shard: str) -> bool:
    """Whether a name can only be that of a file in the folder itself, on any operating system."""
    return shard.endswith(".safetensors") and not set(shard) & set("/\\:\0")


def open_shard(path: Path, pending: HeaderBytes) -> tuple[MmapFile, dict[str, TensorEntry]]:
    """Return a file and the tensors that its header lists.

    Raises:
        CorruptFile: It is cut short, or what it says of itself cannot be true.
        MissingFile: It is not there, or a dangling link or a Git LFS pointer is.

    """
    if path.name in pending:
        beginning, size = pending[path.name]
        return MmapFile(path, size), parse_header(beginning, file_size=size, location=str(path))
    if error := missing_file_error(path):
        raise error
    if not path.is_file():
        raise missing_file(path, "it is listed as a part of the model. Copy it here too.")
    status = path.stat()
    return MmapFile(path, status.st_size, (status.st_dev, status.st_ino)), read_header(path)
