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

from litgpt.adapters.training.unsafe_pickle import load_archive
from litgpt.domain.errors import CorruptFile, UnsafeFile
from litgpt.domain.validation.untrusted_files import (
    MAX_PICKLE_BYTES,
    check_pickle,
    error_message,
    translate_read_errors,
)

_STATE = "state_dict."
_META_FILE = "meta.pt"
_ALLOWED_GLOBALS = {
    "torch.distributed.checkpoint.metadata": (
        *("Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata"),
        *("TensorProperties", "MetadataIndex", "StorageMeta", "_MEM_FORMAT_ENCODING"),
    ),
    "torch.distributed.checkpoint.filesystem": ("_StorageInfo",),
    "torch.serialization": ("_get_layout",),
    "torch": ("Size", "float32", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool"),
    "pathlib": ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"),
}


class _SafeUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in _ALLOWED_GLOBALS.get(module, ()):
            message = f"{module}.{name} has no place in a list of tensors"
            raise pickle.UnpicklingError(message)
        return super().find_class(module, name)


class SafeReader(FileSystemReader):
    """Reads the list of tensors with care; the tensors themselves torch reads with weights_only."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Return which tensor lies where.

        Raises:
            CorruptFile: The list is missing or cut short.
            UnsafeFile: It holds objects whose making could run code.

        """
        del args, kwargs
        path = Path(self.path) / ".metadata"
        with translate_read_errors(path, missing="it lists the tensors of the checkpoint."):
            if path.stat().st_size > MAX_PICKLE_BYTES:
                raise CorruptFile(str(path), f"it has more than {MAX_PICKLE_BYTES} bytes.")
            raw = path.read_bytes()
            check_pickle(raw)
            try:
                found = _SafeUnpickler(io.BytesIO(raw)).load()
            except pickle.UnpicklingError as error:
                raise UnsafeFile(str(path), f"({error_message(error)}.)") from error
        listed = getattr(found, "state_dict_metadata", None)
        if not isinstance(found, Metadata) or not isinstance(listed, dict):
            raise CorruptFile(str(path), "it is not a list of tensors.")
        return found


def is_sharded_checkpoint(path: Path) -> bool:
    """Return whether a folder is such a checkpoint."""
    return (path / ".metadata").is_file() and (path / _META_FILE).is_file()


def read_shapes(reader: SafeReader) -> dict[str, Tensor]:
    """Return the weights of a checkpoint by name, without their numbers.

    Raises:
        CorruptFile: The list of them is missing or cut short.
        UnsafeFile: It holds objects whose making could run code.

    """
    listed = reader.read_metadata().state_dict_metadata
    with translate_read_errors(str(Path(reader.path) / ".metadata")):
        return {
            name.removeprefix(_STATE): torch.empty(info.size, dtype=info.properties.dtype, device="meta")
            for name, info in listed.items()
            if name.startswith(_STATE) and isinstance(info, TensorStorageMetadata)
        }


def read_into(state: dict[str, Any], reader: SafeReader) -> None:
    """Fill tensors with what a checkpoint has under their names; all processes, if there are several.

    Only tensors are asked for: torch reads anything else without care.

    Raises:
        CorruptFile: A file of it is missing or cut short.

    """
    alone = not torch.distributed.is_initialized()
    with translate_read_errors(str(reader.path)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # that is what is meant
        load(state, storage_reader=reader, no_dist=alone)


def read_plain_values(path: Path) -> dict[str, Any]:
    """Return what a checkpoint holds besides weights and moments.

    Raises:
        CorruptFile: The file of it is missing or cut short.
        UnsafeFile: It holds objects whose making could run code.

    """
    plain = load_archive(path / _META_FILE)
    if not isinstance(plain, dict):
        raise CorruptFile(str(path / _META_FILE), "it is not a set of names and values.")
    return plain


def read_sharded(path: Path) -> dict[str, Any]:
    """Return a checkpoint as it would be in one file: its plain values, and the tensors as `state_dict`.

    Raises:
        CorruptFile: A file of it is missing or cut short.
        UnsafeFile: It holds objects whose making could run code.

    """
    reader = SafeReader(path)
    listed = read_shapes(reader)
    with translate_read_errors(str(path)):
        there = sum(one.stat().st_size for one in path.iterdir())
    if (needed := sum(one.numel() * one.itemsize for one in listed.values())) > there:
        raise CorruptFile(str(path), f"its tensors take {needed} bytes, and its files have {there}.")
    state = {name: torch.empty_like(one, device="cpu") for name, one in listed.items()}
    read_into({"state_dict": dict(state)}, reader)
    return {**read_plain_values(path), "state_dict": state}
