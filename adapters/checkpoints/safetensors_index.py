"""Which file of a folder each tensor is in: one file of safetensors, or shards that an index lists.

An index may be wrong where it does not matter: it may promise a tensor that is not there, list a shard that
was left out, or not list a tensor that a shard holds. What the model has no use for is no reason to refuse
it, and is said to be ignored.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeAlias

import attrs

from litgpt.adapters.checkpoints.mapped_file import MappedFile
from litgpt.adapters.checkpoints.on_disk import missing, stands_in
from litgpt.adapters.checkpoints.safetensors_header import Entry, parse_header, read_header
from litgpt.adapters.checkpoints.small_files import read_json
from litgpt.domain.errors import BadCheckpoint, DamagedFile

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

Beginnings: TypeAlias = Mapping[str, tuple[bytes, int]]
"""Files by name: the first bytes of each, its whole header among them, and how many bytes it has in all."""

NeededOf: TypeAlias = Callable[[Collection[str]], Collection[str]]
"""Returns those of some names of tensors that the model is read from."""

Stored: TypeAlias = dict[str, tuple[MappedFile, Entry]]


@attrs.frozen
class StoredTensors:
    """The tensors of a folder.

    Attributes:
        tensors: Each tensor's file, and where in it the tensor is.
        files: The names of the files that are read.
        notes: What was wrong and does not matter.

    """

    tensors: Stored
    files: frozenset[str]
    notes: tuple[str, ...] = ()


def single_file(path: Path, coming: Beginnings) -> StoredTensors:
    """Return the tensors of one file.

    Raises:
        DamagedFile: It is cut short, or what it says of itself cannot be true.
        MissingFile: There is a Git LFS pointer, or a dangling link, in its place.

    """
    file, entries = headed(path, coming)
    return StoredTensors({name: (file, entry) for name, entry in entries.items()}, frozenset({path.name}))


def sharded_files(folder: Path, coming: Beginnings, needed_of: NeededOf) -> StoredTensors:
    """Return the tensors of the shards that the index of a folder lists.

    Args:
        folder: The folder.
        coming: Files of weights that are not in the folder yet.
        needed_of: Asked only where something is missing or is not listed.

    Raises:
        DamagedFile: The index or a shard contradicts itself, or a shard lacks a tensor that is needed.
        MissingFile: A shard that is needed is not there.

    """
    index = folder / INDEX
    weight_map = _weight_map(index)
    shards: dict[str, tuple[MappedFile, dict[str, Entry]]] = {}
    lost: dict[str, BadCheckpoint] = {}
    for shard in dict.fromkeys(weight_map.values()):
        try:
            shards[shard] = headed(folder / shard, coming)
        except BadCheckpoint as error:
            lost[shard] = error
    stored: Stored = {}
    broken: dict[str, BadCheckpoint] = {}
    for name, shard in weight_map.items():
        if shard in lost:
            broken[name] = lost[shard]
        elif name in shards[shard][1]:
            stored[name] = (shards[shard][0], shards[shard][1][name])
        else:
            said = f"it lacks the tensor {name!r}, which {INDEX} promises."
            broken[name] = DamagedFile(str(folder / shard), said)
    unlisted = {
        name: (file, entry)
        for file, entries in shards.values()
        for name, entry in entries.items()
        if name not in stored
    }
    if not broken and not unlisted:
        return StoredTensors(stored, frozenset(shards))
    needed = needed_of({**weight_map, **unlisted})
    stored |= {name: unlisted[name] for name in unlisted if name in needed}
    for name, reason in broken.items():
        if name in needed and name not in stored:
            raise reason
    return StoredTensors(stored, frozenset(shards), _notes(broken, lost, stored))


def _notes(broken: Collection[str], lost: Collection[str], stored: Stored) -> tuple[str, ...]:
    promised = [name for name in broken if name not in stored]
    notes = []
    if promised:
        few = ", ".join(promised[:3]) + (", …" if len(promised) > 3 else "")
        said = "a tensor that is" if len(promised) == 1 else f"{len(promised)} tensors that are"
        notes.append(f"{INDEX} lists {said} not there and not needed ({few}).")
    if lost:
        notes.append(f"{', '.join(sorted(lost))} cannot be read, and nothing of it is needed.")
    return tuple(notes)


def _weight_map(index: Path) -> dict[str, str]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise DamagedFile(str(index), "it has no 'weight_map' of tensors to files.")
    for shard in weight_map.values():
        if not isinstance(shard, str) or not _is_plain(shard):
            raise DamagedFile(str(index), f"it names {shard!r}, not a safetensors file in this folder.")
    return weight_map


def listed_files(folder: Path) -> set[str]:
    """Return the names of the files that the index of a folder lists; none if no index can be read."""
    try:
        return {*_weight_map(folder / INDEX).values()} if (folder / INDEX).is_file() else set()
    except BadCheckpoint:
        return set()


def _is_plain(shard: str) -> bool:
    """Whether a name can only be that of a file in the folder itself, on any operating system."""
    return shard.endswith(".safetensors") and not set(shard) & set("/\\:\0")


def headed(path: Path, coming: Beginnings) -> tuple[MappedFile, dict[str, Entry]]:
    """Return a file and the tensors that its header lists.

    Raises:
        DamagedFile: It is cut short, or what it says of itself cannot be true.
        MissingFile: It is not there, or a dangling link or a Git LFS pointer is.

    """
    if path.name in coming:
        beginning, size = coming[path.name]
        return MappedFile(path, size), parse_header(beginning, file_size=size, where=str(path))
    if error := stands_in(path):
        raise error
    if not path.is_file():
        raise missing(path, "it is listed as a part of the model. Copy it here too.")
    status = path.stat()
    return MappedFile(path, status.st_size, (status.st_dev, status.st_ino)), read_header(path)
