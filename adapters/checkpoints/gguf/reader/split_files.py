"""Models split into several GGUF files: `name-00001-of-00003.gguf` etc. in one folder."""

import re
from contextlib import suppress
from pathlib import Path

from litgpt.adapters.checkpoints.files.file_checks import missing_file
from litgpt.adapters.checkpoints.gguf.reader.header import MAGIC, GgufHeader, GgufTensor, read_header
from litgpt.adapters.checkpoints.gguf.reader.metadata import GgufMetadata
from litgpt.domain.errors import CorruptFile, InvalidCheckpoint, MissingFile, UnsupportedModel

MAX_PADDING = 1024
"""Approximate maximum number of padding bytes after the last tensor of a file."""

_PART = re.compile(r"(.+)-([0-9]{5})-of-([0-9]{5})\.gguf", re.IGNORECASE)


def read_split_files(path: Path) -> tuple[GgufMetadata, dict[str, GgufTensor]]:
    """Return the metadata of the first file of a model, and the tensors of all; `path` is any of them."""
    headers = _headers(path)
    tensors: dict[str, GgufTensor] = {}
    for number, header in enumerate(headers):
        _check_part(header, number, len(headers))
        for tensor in header.tensors:
            if tensor.name in tensors:
                raise CorruptFile(
                    str(header.file.path), f"its tensor {tensor.name!r} is also in another part."
                )
            tensors[tensor.name] = tensor
    return GgufMetadata(str(headers[0].file.path), headers[0].metadata), tensors


def _headers(path: Path) -> list[GgufHeader]:
    """Return the headers of all files of a model in order, by their names or, if renamed, their contents."""
    part = _PART.fullmatch(path.name)
    if part is None or not 1 <= int(part[2]) <= int(part[3]):
        return _find_renamed(path)
    stem, count = part[1], int(part[3])
    paths = [path.with_name(f"{stem}-{at:05}-of-{count:05}{path.suffix}") for at in range(1, count + 1)]
    for sibling in paths:
        if not sibling.exists():
            raise missing_file(
                sibling, f"it is one of the {count} parts of {stem}; put them all in one folder."
            )
    return [read_header(sibling) for sibling in paths]


def _find_renamed(path: Path) -> list[GgufHeader]:
    """Return the headers of a model with a renamed file, by the part numbers in them."""
    header = read_header(path)
    number, count = _split_numbers(header)
    if count == 1:
        return [header]
    if _is_concatenated(header):
        raise CorruptFile(
            str(path),
            f"it contains several of the {count} parts of a model, concatenated, which is not valid GGUF. "
            "Join the parts with `llama-gguf-split --merge`, or put them all, as they are, in one folder.",
        )
    parts = {number: [header]}
    for other in sorted(path.parent.glob("*.gguf")):
        with suppress(InvalidCheckpoint, UnsupportedModel):
            if other != path and _is_same_model(other_header := read_header(other), header):
                parts.setdefault(_split_numbers(other_header)[0], []).append(other_header)
    for at in range(count):
        if len(parts.get(at, ())) != 1:
            candidates = ", ".join(part.file.path.name for part in parts.get(at, ()))
            problem = f"{candidates} are all part {at + 1}" if candidates else f"part {at + 1} was not found"
            reason = f"{path.name} is part {number + 1} of {count}, and {problem}."
            where = str(path.with_name(f"*-{at + 1:05}-of-{count:05}.gguf"))
            raise MissingFile(where, f"{reason} Put all parts in one folder.")
    return [parts[at][0] for at in range(count)]


def _split_numbers(header: GgufHeader) -> tuple[int, int]:
    """Return the part number of a file, from 0, and the number of parts."""
    metadata = GgufMetadata(str(header.file.path), header.metadata)
    return metadata.integer("split.no") or 0, metadata.integer("split.count") or 1


def _is_same_model(header: GgufHeader, other: GgufHeader) -> bool:
    counts = "split.count", "split.tensors.count"
    return all(header.metadata.get(key) == other.metadata.get(key) for key in counts)


def _is_concatenated(header: GgufHeader) -> bool:
    """Return whether another GGUF file follows the tensors of this one."""
    if not header.tensors:
        return False
    end, size = max(tensor.stop for tensor in header.tensors), header.file.size
    trailing = header.file.read(end, min(size, end + 4 * MAX_PADDING))
    return MAGIC in trailing


def _check_part(header: GgufHeader, number: int, count: int) -> None:
    actual_number, actual_count = _split_numbers(header)
    if (actual_number, actual_count) == (number, count):
        return
    reason = f"according to its header it is part {actual_number + 1} of {actual_count}."
    raise CorruptFile(str(header.file.path), reason)
