"""The header of a safetensors file, read and checked by the `safetensors` package, without torch."""

import os
import re
from itertools import accumulate
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from litgpt.domain.validation.untrusted_files import translate_read_errors
from litgpt.domain.weights.tensor_info import TensorInfo

_BITS = re.compile(r"\d+")


class TensorEntry(NamedTuple):
    """A tensor, and the byte of the file that it begins at."""

    info: TensorInfo
    start: int


def read_header(path: Path) -> dict[str, TensorEntry]:
    """Return every tensor of a file, in the order of the file.

    Raises:
        CorruptFile: The header is cut short, or contradicts itself or the size of the file.

    """
    with translate_read_errors(path, reason=_REASON):
        return _entries(path)


def parse_header(beginning: bytes, *, file_size: int, location: str) -> dict[str, TensorEntry]:
    """Return every tensor of a file that is not on this machine yet.

    The package reads files only. It gets a sparse one, which is as long as the file and takes the space of
    the header.

    Args:
        beginning: The first bytes of the file, its whole header among them.
        file_size: The size of the whole file, in bytes.
        location: The name of the file in an error.

    Raises:
        CorruptFile: As `read_header`.

    """
    with translate_read_errors(location, reason=_REASON), TemporaryDirectory() as folder:
        sparse = Path(folder) / "header.safetensors"
        sparse.write_bytes(beginning)
        os.truncate(sparse, file_size)
        return _entries(sparse)


_REASON = "its safetensors header is invalid"


def _entries(path: Path) -> dict[str, TensorEntry]:
    """Return the tensors, whose offsets the package checks and does not return.

    It refuses holes, overlaps and bytes of no tensor, so they lie end to end up to the end of the file.
    """
    from safetensors import safe_open

    size = path.stat().st_size
    with safe_open(path, "np") as file:  # "pt" would import torch and map the file
        slices = {name: file.get_slice(name) for name in file.offset_keys()}
        infos = {name: _info(one.get_shape(), one.get_dtype()) for name, one in slices.items()}
    lengths = [info.nbytes for info in infos.values()]
    starts = accumulate(lengths, initial=size - sum(lengths))
    return {
        name: TensorEntry(info, start) for (name, info), start in zip(infos.items(), starts, strict=False)
    }


def _info(shape: list[int], dtype: str) -> TensorInfo:
    found = _BITS.search(dtype)
    bits = 8 if found is None else int(found[0])  # BOOL has no digits
    return TensorInfo(tuple(shape), dtype, prod(shape) * bits // 8)
