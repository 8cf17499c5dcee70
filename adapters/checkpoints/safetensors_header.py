"""The header of a safetensors file: read without torch, bounded, and believed only as far as it can be true.

Eight bytes give the header's length, then comes JSON, then the tensors end to end. The rules are those of the
format: https://github.com/huggingface/safetensors#format.
"""

import json
from typing import NamedTuple

from litgpt.domain.errors import DamagedFile
from litgpt.domain.tensors import TensorInfo
from litgpt.domain.validators import is_integer

LENGTH_BYTES = 8
LARGEST_HEADER = 100_000_000
"""The format's own bound: a longer header is an attack or a file of another kind."""

BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "U16": 16,
    "I16": 16,
    "U32": 32,
    "I32": 32,
    "U64": 64,
    "I64": 64,
    "F16": 16,
    "BF16": 16,
    "F32": 32,
    "F64": 64,
    "C64": 64,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}
"""Every dtype of the format, and the bits that one number takes."""

MOST_DIMENSIONS = 64
LARGEST_DIMENSION = 2**63 - 1
LONGEST_QUOTE = 200


class Entry(NamedTuple):
    """A tensor, and where its bytes are, counted from the beginning of the file."""

    info: TensorInfo
    start: int
    end: int


def header_size(beginning: bytes, *, file_size: int, where: str) -> int:
    """Return how many bytes, from the first of the file, `parse_header` needs.

    Args:
        beginning: At least the first eight bytes of the file, if it has as many.
        file_size: The size of the whole file.
        where: What to call the file in an error.

    Raises:
        DamagedFile: The file is too short to have a header, or its header too long for it.

    """
    if file_size < LENGTH_BYTES or len(beginning) < LENGTH_BYTES:
        raise DamagedFile(where, f"it has {file_size} bytes, too few for a safetensors header.")
    length = int.from_bytes(beginning[:LENGTH_BYTES], "little")
    if length > LARGEST_HEADER:
        raise DamagedFile(
            where, f"it gives its header {length} bytes; more than {LARGEST_HEADER} is never right."
        )
    if length > file_size - LENGTH_BYTES:
        raise DamagedFile(where, f"it gives its header {length} bytes, but the file ends after {file_size}.")
    return LENGTH_BYTES + length


def parse_header(raw: bytes, *, file_size: int, where: str) -> dict[str, Entry]:
    """Return every tensor that a safetensors file holds, in the order of its bytes.

    Args:
        raw: The beginning of the file, `header_size` bytes of it or more.
        file_size: The size of the whole file, which the tensors must fill exactly.
        where: What to call the file in an error.

    Raises:
        DamagedFile: The header is cut short, or what it says cannot be true.

    """
    size = header_size(raw, file_size=file_size, where=where)
    if len(raw) < size:
        raise DamagedFile(where, f"its header takes {size} bytes, of which {len(raw)} are there.")
    described = _json(raw[LENGTH_BYTES:size], where)
    _check_metadata(described.pop("__metadata__", {}), where)
    entries = {name: _entry(name, fields, size, where) for name, fields in described.items()}
    ordered = sorted(entries.items(), key=lambda item: (item[1].start, item[1].end))
    _check_filling(ordered, size, file_size, where)
    return dict(ordered)


def _json(raw: bytes, where: str) -> dict[str, object]:
    try:
        parsed = json.loads(raw.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(where, f"its header is no JSON ({error}).") from error
    if not isinstance(parsed, dict):
        raise DamagedFile(where, "its header is no JSON object.")
    return parsed


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a key that comes twice: two readers could take one name for two tensors."""
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{_quoted(name)} comes twice")
        found[name] = value
    return found


def _quoted(name: object) -> str:
    """Quote what the file calls something, at a length that fits an error message."""
    text = repr(name)
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"


def _check_metadata(metadata: object, where: str) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise DamagedFile(where, "its __metadata__ is not text by name.")


def _entry(name: str, fields: object, header: int, where: str) -> Entry:
    if not isinstance(fields, dict) or set(fields) != {"dtype", "shape", "data_offsets"}:
        raise DamagedFile(where, f"tensor {_quoted(name)} is not described by dtype, shape and data_offsets.")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise DamagedFile(
            where, f"tensor {_quoted(name)} has the dtype {_quoted(dtype)}, which the format does not know."
        )
    if not _counts(shape) or len(shape) > MOST_DIMENSIONS or any(size > LARGEST_DIMENSION for size in shape):
        raise DamagedFile(where, f"tensor {_quoted(name)} has a shape that is none.")
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise DamagedFile(where, f"tensor {_quoted(name)} has data_offsets that are none.")
    start, end = offsets
    info = TensorInfo(tuple(shape), dtype, end - start)
    if info.numel * BITS[dtype] != info.nbytes * 8:
        raise DamagedFile(
            where,
            f"tensor {_quoted(name)} is {dtype} {_quoted(shape)}, which does not take {info.nbytes} bytes.",
        )
    return Entry(info, header + start, header + end)


def _counts(value: object) -> bool:
    return isinstance(value, list) and all(is_integer(one, 0) for one in value)


def _check_filling(entries: list[tuple[str, Entry]], header: int, file_size: int, where: str) -> None:
    """Refuse holes and overlaps: bytes that two tensors share, or none, come of a mistake or an attack."""
    reached = header
    for name, entry in entries:
        if entry.start != reached:
            how = "overlaps the one before it" if entry.start < reached else "leaves a hole before it"
            raise DamagedFile(where, f"tensor {_quoted(name)} {how}.")
        reached = entry.end
    if reached != file_size:
        raise DamagedFile(where, f"its tensors end at byte {reached}, and the file at byte {file_size}.")
