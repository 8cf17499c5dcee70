"""Models that were cut into several GGUF files: `name-00001-of-00003.gguf` and so on, side by side."""

import re
from contextlib import suppress
from pathlib import Path

from litgpt.adapters.checkpoints.files.file_checks import missing_file
from litgpt.adapters.checkpoints.gguf.reader.header import MAGIC, GgufHeader, GgufTensor, read_header
from litgpt.adapters.checkpoints.gguf.reader.metadata import GgufMetadata
from litgpt.domain.errors import CorruptFile, InvalidCheckpoint, MissingFile, UnsupportedModel

MAX_PADDING = 1024
"""Bytes, about, between the last tensor of a file and its end."""

_PART = re.compile(r"(.+)-([0-9]{5})-of-([0-9]{5})\.gguf", re.IGNORECASE)


def read_split_files(path: Path) -> tuple[GgufMetadata, dict[str, GgufTensor]]:
    """Return what the first part of a model says of it, and the tensors of all parts.

    Args:
        path: Any of the parts, or the only file.

    Raises:
        MissingFile: A part is not beside the others.
        CorruptFile: The parts contradict each other.

    """
    paths = _sibling_files(path)
    headers = [read_header(one) for one in paths]
    tensors: dict[str, GgufTensor] = {}
    for number, header in enumerate(headers):
        _check_part(header, number, len(paths))
        for tensor in header.tensors:
            if tensor.name in tensors:
                raise CorruptFile(
                    str(header.file.path), f"its tensor {tensor.name!r} is in another part too."
                )
            tensors[tensor.name] = tensor
    return GgufMetadata(str(paths[0]), headers[0].metadata), tensors


def _sibling_files(path: Path) -> list[Path]:
    """Return all parts of a model in order, of which `path` is one: by their names, or by their headers."""
    part = _PART.fullmatch(path.name)
    if part is None or not 1 <= int(part[2]) <= int(part[3]):
        return _find_renamed(path)
    stem, count = part[1], int(part[3])
    paths = [path.with_name(f"{stem}-{one:05}-of-{count:05}{path.suffix}") for one in range(1, count + 1)]
    for one in paths:
        if not one.exists():
            raise missing_file(one, f"it is one of the {count} parts of {stem}; put them all in one folder.")
    return paths


def _find_renamed(path: Path) -> list[Path]:
    """Return all parts of a model, of which one was renamed: headers say which part a file is."""
    header = read_header(path)
    number, count = _split_numbers(header)
    if count == 1:
        return [path]
    if _is_concatenated(header):
        raise CorruptFile(
            str(path),
            f"it is several of the {count} parts of a model, one after another, which is not a GGUF file. "
            "Join the parts with `llama-gguf-split --merge`, or put them all, as they are, in one folder.",
        )
    found = {number: [path]}
    for other in sorted(path.parent.glob("*.gguf")):
        with suppress(InvalidCheckpoint, UnsupportedModel):
            if other != path and _is_same_model(its := read_header(other), header):
                found.setdefault(_split_numbers(its)[0], []).append(other)
    for at in range(count):
        if len(found.get(at, ())) != 1:
            several = ", ".join(one.name for one in found.get(at, ()))
            which = f"{several} say" if several else "no file beside it says"
            reason = f"{path.name} is part {number + 1} of {count}, and {which} that it is part {at + 1}."
            where = str(path.with_name(f"*-{at + 1:05}-of-{count:05}.gguf"))
            raise MissingFile(where, f"{reason} Put all parts in one folder.")
    return [found[at][0] for at in range(count)]


def _split_numbers(header: GgufHeader) -> tuple[int, int]:
    """Return which part a file says it is, from 0, and of how many."""
    metadata = GgufMetadata(str(header.file.path), header.metadata)
    return metadata.integer("split.no") or 0, metadata.integer("split.count") or 1


def _is_same_model(header: GgufHeader, other: GgufHeader) -> bool:
    """Whether two files may be parts of one model."""
    counts = "split.count", "split.tensors.count"
    return all(header.metadata.get(key) == other.metadata.get(key) for key in counts)


def _is_concatenated(header: GgufHeader) -> bool:
    """Whether another GGUF file begins where the tensors of this one end."""
    if not header.tensors:
        return False
    end, size = max(tensor.stop for tensor in header.tensors), header.file.size
    behind = header.file.read(end, min(size, end + 4 * MAX_PADDING))
    return MAGIC in behind


def _check_part(header: GgufHeader, number: int, count: int) -> None:
    metadata = GgufMetadata(str(header.file.path), header.metadata)
    said_count, said_number = metadata.integer("split.count") or 1, metadata.integer("split.no") or 0
    if said_count == count and said_number == number:
        return
    raise CorruptFile(metadata.path, f"it says that it is part {said_number + 1} of {said_count}.")
