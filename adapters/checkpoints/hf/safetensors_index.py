"""Locate the tensors of a folder: in a single safetensors file, or in shards listed by an index.

An index may list tensors or shards that do not exist, or omit tensors of a shard. Such errors are ignored,
with a note, if the model does not use the tensors.
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
"""By file name: the first bytes of the file, which contain the whole header, and the file size in bytes."""

SelectNeeded: TypeAlias = Callable[[Collection[str]], Collection[str]]
"""Selects the tensor names that the model uses."""

TensorLocations: TypeAlias = dict[str, tuple[MmapFile, TensorEntry]]


@attrs.frozen
class FolderTensors:
    """The tensors of a folder by file, the files that are read, and errors of the index that were ignored."""

    tensors: TensorLocations
    files: frozenset[str]
    notes: tuple[str, ...] = ()


def read_single_file(path: Path, pending: HeaderBytes) -> FolderTensors:
    """Return the tensors of a single file."""
    file, entries = open_shard(path, pending)
    return FolderTensors({name: (file, entry) for name, entry in entries.items()}, frozenset({path.name}))


def read_shards(folder: Path, pending: HeaderBytes, select_needed: SelectNeeded) -> FolderTensors:
    """Return the tensors of the shards listed by a folder's index.

    `select_needed` is called only if tensors are missing or not listed.
    """
    index = folder / INDEX_FILE
    weight_map = _weight_map(index)
    shards: dict[str, tuple[MmapFile, dict[str, TensorEntry]]] = {}
    unreadable: dict[str, InvalidCheckpoint] = {}
    for shard in dict.fromkeys(weight_map.values()):
        try:
            shards[shard] = open_shard(folder / shard, pending)
        except InvalidCheckpoint as error:
            unreadable[shard] = error
    stored: TensorLocations = {}
    broken: dict[str, InvalidCheckpoint] = {}
    for name, shard in weight_map.items():
        if shard in unreadable:
            broken[name] = unreadable[shard]
        elif name in shards[shard][1]:
            stored[name] = (shards[shard][0], shards[shard][1][name])
        else:
            reason = f"it does not contain the tensor {name!r}, which {INDEX_FILE} lists."
            broken[name] = CorruptFile(str(folder / shard), reason)
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
    for name, failure in broken.items():
        if name in needed and name not in stored:
            raise failure
    return FolderTensors(stored, frozenset(shards), _notes(broken, unreadable, stored))


def _notes(broken: Collection[str], unreadable: Collection[str], stored: TensorLocations) -> tuple[str, ...]:
    missing = [name for name in broken if name not in stored]
    notes = []
    if missing:
        examples = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        subject = "a missing tensor" if len(missing) == 1 else f"{len(missing)} missing tensors"
        notes.append(f"{INDEX_FILE} lists {subject} that the model does not use ({examples}).")
    if unreadable:
        notes.append(
            f"{', '.join(sorted(unreadable))} cannot be read; the model does not use any of its tensors."
        )
    return tuple(notes)


def _weight_map(index: Path) -> dict[str, str]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CorruptFile(str(index), "it has no 'weight_map' from tensors to files.")
    for shard in weight_map.values():
        if not isinstance(shard, str) or not _is_plain(shard):
            raise CorruptFile(
                str(index), f"it names {shard!r}, which is not a safetensors file in this folder."
            )
    return weight_map


def listed_files(folder: Path) -> set[str]:
    """Return the file names listed by a folder's index; empty if the index is missing or unreadable."""
    try:
        return {*_weight_map(folder / INDEX_FILE).values()} if (folder / INDEX_FILE).is_file() else set()
    except InvalidCheckpoint:
        return set()


def _is_plain(shard: str) -> bool:
    """Return whether a name refers to a file directly in the folder, on any operating system."""
    return shard.endswith(".safetensors") and not set(shard) & set("/\\:\0")


def open_shard(path: Path, pending: HeaderBytes) -> tuple[MmapFile, dict[str, TensorEntry]]:
    """Return a safetensors file and the tensors in its header."""
    if path.name in pending:
        beginning, size = pending[path.name]
        return MmapFile(path, size), parse_header(beginning, file_size=size, location=str(path))
    if error := missing_file_error(path):
        raise error
    if not path.is_file():
        raise missing_file(path, "it is a shard of the model. Copy it here too.")
    status = path.stat()
    return MmapFile(path, status.st_size, (status.st_dev, status.st_ino)), read_header(path)
