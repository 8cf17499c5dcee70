"""Write safetensors files one tensor at a time.

The `safetensors` package needs all tensors of a file in memory at once, and creates files that only their
owner can read: see docs/decisions/safetensors.md. A file is a length, a JSON header and the tensor data.
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
"""Maximum tensor bytes per file, unless a single tensor is larger."""

_ALIGNMENT = 8


def plan_shards(tensors: Mapping[str, TensorInfo], max_bytes: int = SHARD_BYTES) -> list[list[str]]:
    """Split tensor names, in their order, into files of at most `max_bytes`, or of a single larger tensor."""
    shards: list[list[str]] = [[]]
    size = 0
    for name, info in tensors.items():
        if shards[-1] and size + info.nbytes > max_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += info.nbytes
    return shards


def shard_names(count: int) -> list[str]:
    """Return the file names of `count` shards."""
    if count == 1:
        return ["model.safetensors"]
    return [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]


def safetensors_header(names: Sequence[str], tensors: Mapping[str, TensorInfo]) -> bytes:
    """Return the length field and the JSON header of a file, padded to 8 bytes."""
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
    """Write a safetensors file; `values` are the tensors on the CPU, in the order of `names`."""
    with path.open("wb") as file:
        file.write(safetensors_header(names, tensors))
        for tensor in values:
            _write(file, tensor)


def _write(file: BinaryIO, tensor: "torch.Tensor") -> None:
    import torch

    file.write(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
