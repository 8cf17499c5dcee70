"""Read the header of a safetensors file with the `safetensors` package, without torch."""

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
    """A tensor and the offset of its first byte in the file."""

    info: TensorInfo
    start: int


def read_header(path: Path) -> dict[str, TensorEntry]:
    """Return all tensors of a file, in file order; raise CorruptFile if its header is not valid."""
    with translate_read_errors(path, reason=_REASON):
        return _entries(path)


def parse_header(beginning: bytes, *, file_size: int, location: str) -> dict[str, TensorEntry]:
    """Return all tensors of a file that is not downloaded yet, as `read_header` does.

    The package only reads files, so it is given a sparse file of the full size, which only takes the disk
    space of the header. `beginning` contains the whole header; `location` names the file in errors.
    """
    with translate_read_errors(location, reason=_REASON), TemporaryDirectory() as folder:
        sparse = Path(folder) / "header.safetensors"
        sparse.write_bytes(beginning)
        os.truncate(sparse, file_size)
        return _entries(sparse)


_REASON = "its safetensors header is invalid"


def _entries(path: Path) -> dict[str, TensorEntry]:
    """Return the tensors with their offsets, which the package checks but does not return.

    It rejects gaps, overlaps and trailing bytes, so the tensors are contiguous up to the end of the file.
    """
    from safetensors import safe_open

    size = path.stat().st_size
    with safe_open(path, "np") as file:  # "pt" would import torch and map the file
        slices = {name: file.get_slice(name) for name in file.offset_keys()}
        infos = {name: _info(view.get_shape(), view.get_dtype()) for name, view in slices.items()}
    lengths = [info.nbytes for info in infos.values()]
    starts = accumulate(lengths, initial=size - sum(lengths))
    return {
        name: TensorEntry(info, start) for (name, info), start in zip(infos.items(), starts, strict=False)
    }


def _info(shape: list[int], dtype: str) -> TensorInfo:
    digits = _BITS.search(dtype)
    bits = 8 if digits is None else int(digits[0])  # BOOL has no digits
    return TensorInfo(tuple(shape), dtype, prod(shape) * bits // 8)
