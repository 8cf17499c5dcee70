"""Writing safetensors, one tensor at a time.

The `safetensors` package needs all tensors of a file in memory at once, and only the owner can read the files
that it creates: see docs/decisions/safetensors.md. The format is a length, a header in JSON and the bytes.
Source: https://github.com/huggingface/safetensors#format
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from litgpt.domain.weights.tensor_info import TensorInfo

if TYPE_CHECKING:
    import torch

SHARD_BYTES = 5_000_000_000
"""How many bytes of tensors go into a file, unless a single tensor has more."""

_ALIGNMENT = 8


def plan_shards(tensors: Mapping[str, TensorInfo], max_bytes: int = SHARD_BYTES) -> list[list[str]]:
    """Return the names, in their order, dealt out to files of at most `max_bytes` bytes where that can be."""
    found: list[list[str]] = [[]]
    size = 0
    for name, info in tensors.items():
        if found[-1] and size + info.nbytes > max_bytes:
            found.append([])
            size = 0
        found[-1].append(name)
        size += info.nbytes
    return found


def shard_names(count: int) -> list[str]:
    """Return what the files are called."""
    if count == 1:
        return ["model.safetensors"]
    return [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]


def safetensors_header(names: Sequence[str], tensors: Mapping[str, TensorInfo]) -> bytes:
    """Return what a file of these tensors begins with."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        info = tensors[name]
        begin, end = end, end + info.nbytes
        entries[name] = {
            "dtype": info.storage_format,
            "shape": list(info.shape),
            "data_offsets": [begin, end],
        }
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    return len(header).to_bytes(8, "little") + header


def write_file(
    path: Path, names: Sequence[str], tensors: Mapping[str, TensorInfo], values: "Iterable[torch.Tensor]"
) -> None:
    """Write a file of tensors.

    Args:
        path: Where.
        names: Which, in the order in which they come.
        tensors: Their shapes and dtypes.
        values: The tensors themselves, on the CPU.

    """
    with path.open("wb") as file:
        file.write(safetensors_header(names, tensors))
        for tensor in values:
            _write(file, tensor)


def _write(file: BinaryIO, tensor: "torch.Tensor") -> None:
    import torch

    file.write(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
