"""Trainer checkpoints in several files, one from each process, read in one process.

torch.distributed.checkpoint writes which tensor lies where as a pickle, and reads it without care. Here
nothing is made of it but the plain values that such a list consists of.
"""

import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from litgpt.adapters.training.unsafe_values import load_archive
from litgpt.domain.errors import DamagedFile, UnsafeFile
from litgpt.domain.reading import LARGEST_PICKLE, cause, check_pickle, reading

_STATE = "state_dict."
_PLAIN = "meta.pt"
_ALLOWED = {
    "torch.distributed.checkpoint.metadata": (
        *("Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata"),
        *("TensorProperties", "MetadataIndex", "StorageMeta", "_MEM_FORMAT_ENCODING"),
    ),
    "torch.distributed.checkpoint.filesystem": ("_StorageInfo",),
    "torch.serialization": ("_get_layout",),
    "torch": ("Size", "float32", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool"),
    "pathlib": ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"),
}


class _Careful(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in _ALLOWED.get(module, ()):
            message = f"{module}.{name} has no place in a list of tensors"
            raise pickle.UnpicklingError(message)
        return super().find_class(module, name)


class CarefulReader(FileSystemReader):
    """Reads the list of tensors with care; the tensors themselves torch reads with weights_only."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Return which tensor lies where.

        Raises:
            DamagedFile: The list is missing or cut short.
            UnsafeFile: It holds objects whose making could run code.

        """
        del args, kwargs
        path = Path(self.path) / ".metadata"
        with reading(path, missing="it lists the tensors of the checkpoint."):
            if path.stat().st_size > LARGEST_PICKLE:
                raise DamagedFile(str(path), f"it has more than {LARGEST_PICKLE} bytes.")
            raw = path.read_bytes()
            check_pickle(raw)
            try:
                found = _Careful(io.BytesIO(raw)).load()
            except pickle.UnpicklingError as error:
                raise UnsafeFile(str(path), f"({cause(error)}.)") from error
        listed = getattr(found, "state_dict_metadata", None)
        if not isinstance(found, Metadata) or not isinstance(listed, dict):
            raise DamagedFile(str(path), "it is not a list of tensors.")
        return found


def is_sharded_checkpoint(path: Path) -> bool:
    """Return whether a folder is such a checkpoint."""
    return (path / ".metadata").is_file() and (path / _PLAIN).is_file()


def shapes(reader: CarefulReader) -> dict[str, Tensor]:
    """Return the weights of a checkpoint by name, without their numbers.

    Raises:
        DamagedFile: The list of them is missing or cut short.
        UnsafeFile: It holds objects whose making could run code.

    """
    listed = reader.read_metadata().state_dict_metadata
    with reading(str(Path(reader.path) / ".metadata")):
        return {
            name.removeprefix(_STATE): torch.empty(info.size, dtype=info.properties.dtype, device="meta")
            for name, info in listed.items()
            if name.startswith(_STATE) and isinstance(info, TensorStorageMetadata)
        }


def read_into(state: dict[str, Any], reader: CarefulReader) -> None:
    """Fill tensors with what a checkpoint has under their names; all processes, if there are several.

    Only tensors are asked for: torch reads anything else without care.

    Raises:
        DamagedFile: A file of it is missing or cut short.

    """
    alone = not torch.distributed.is_initialized()
    with reading(str(reader.path)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # that is what is meant
        load(state, storage_reader=reader, no_dist=alone)


def read_plain(path: Path) -> dict[str, Any]:
    """Return what a checkpoint holds besides weights and moments.

    Raises:
        DamagedFile: The file of it is missing or cut short.
        UnsafeFile: It holds objects whose making could run code.

    """
    plain = load_archive(path / _PLAIN)
    if not isinstance(plain, dict):
        raise DamagedFile(str(path / _PLAIN), "it is not a set of names and values.")
    return plain


def read_sharded(path: Path) -> dict[str, Any]:
    """Return a checkpoint as it would be in one file: its plain values, and the tensors as `state_dict`.

    Raises:
        DamagedFile: A file of it is missing or cut short.
        UnsafeFile: It holds objects whose making could run code.

    """
    reader = CarefulReader(path)
    listed = shapes(reader)
    with reading(str(path)):
        there = sum(one.stat().st_size for one in path.iterdir())
    if (needed := sum(one.numel() * one.itemsize for one in listed.values())) > there:
        raise DamagedFile(str(path), f"its tensors take {needed} bytes, and its files have {there}.")
    state = {name: torch.empty_like(one, device="cpu") for name, one in listed.items()}
    read_into({"state_dict": dict(state)}, reader)
    return {**read_plain(path), "state_dict": state}
