"""Models that were cut into several GGUF files: `name-00001-of-00003.gguf` and so on, side by side."""

import re
from pathlib import Path

from litgpt.adapters.checkpoints.gguf.header import Header, StoredTensor, read_header
from litgpt.adapters.checkpoints.gguf.metadata import Metadata
from litgpt.domain.errors import DamagedFile, MissingFile

_PART = re.compile(r"(.+)-([0-9]{5})-of-([0-9]{5})\.gguf", re.IGNORECASE)


def read_parts(path: Path) -> tuple[Metadata, dict[str, StoredTensor]]:
    """Return what the first part of a model says of it, and the tensors of all parts.

    Args:
        path: Any of the parts, or the only file.

    Raises:
        MissingFile: A part is not beside the others.
        DamagedFile: The parts contradict each other.

    """
    paths = _beside(path)
    headers = [read_header(one) for one in paths]
    tensors: dict[str, StoredTensor] = {}
    for number, header in enumerate(headers):
        _check_part(header, number, len(paths))
        for tensor in header.tensors:
            if tensor.name in tensors:
                raise DamagedFile(
                    str(header.file.path), f"its tensor {tensor.name!r} is in another part too."
                )
            tensors[tensor.name] = tensor
    return Metadata(str(paths[0]), headers[0].metadata), tensors


def _beside(path: Path) -> list[Path]:
    """Return all parts of a model in order, of which `path` is one, by their names."""
    part = _PART.fullmatch(path.name)
    if part is None:
        return [path]
    stem, number, count = part[1], int(part[2]), int(part[3])
    if not 1 <= number <= count:
        return [path]
    paths = [path.with_name(f"{stem}-{one:05}-of-{count:05}{path.suffix}") for one in range(1, count + 1)]
    for one in paths:
        if not one.exists():
            raise MissingFile(
                str(one), f"it is one of the {count} parts of {stem}; put them all in one folder."
            )
    return paths


def _check_part(header: Header, number: int, count: int) -> None:
    metadata = Metadata(str(header.file.path), header.metadata)
    said_count, said_number = metadata.integer("split.count") or 1, metadata.integer("split.no") or 0
    if said_count == count and said_number == number:
        return
    if count == 1:
        name = f"*-{said_number + 1:05}-of-{said_count:05}.gguf"
        reason = (
            f"it is one of {said_count} parts; only one that is called {name} can be found by the others."
        )
        raise MissingFile(metadata.path, reason)
    raise DamagedFile(metadata.path, f"it says that it is part {said_number + 1} of {said_count}.")
