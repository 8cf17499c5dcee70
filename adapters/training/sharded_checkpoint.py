"""Trainer checkpoints in several files, one from each process, read in one process.

torch.distributed.checkpoint writes which tensor lies where as a pickle, and reads it without care. Here
nothing is made of it but the plain values that such a list consists of.
"""

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from litgpt.adapters.training.unsafe_values import unsafe_checkpoint
from litgpt.domain.errors import DamagedFile, UnsafeFile

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
        try:
            with path.open("rb") as file:
                found: Metadata = _Careful(file).load()
        except pickle.UnpicklingError as error:
            raise UnsafeFile(str(path), f"({error}.)") from error
        except (OSError, EOFError, AttributeError, TypeError) as error:
            raise DamagedFile(str(path), f"it is no list of tensors ({error}).") from error
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
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # that is what is meant
            load(state, storage_reader=reader, no_dist=alone)
    except (OSError, EOFError, RuntimeError, CheckpointException) as error:
        raise DamagedFile(str(reader.path), f"a part of it cannot be read ({error}).") from error


def read_plain(path: Path) -> dict[str, Any]:
    """Return what a checkpoint holds besides weights and moments.

    Raises:
        DamagedFile: The file of it is missing or cut short.
        UnsafeFile: It holds objects whose making could run code.

    """
    try:
        plain: dict[str, Any] = torch.load(path / _PLAIN, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise unsafe_checkpoint(path / _PLAIN) from error
    except (OSError, EOFError, RuntimeError) as error:
        raise DamagedFile(str(path / _PLAIN), f"it cannot be read ({error}).") from error
    return plain


def read_sharded(path: Path) -> dict[str, Any]:
    """Return a checkpoint as it would be in one file: its plain values, and the tensors as `state_dict`.

    Raises:
        DamagedFile: A file of it is missing or cut short.
        UnsafeFile: It holds objects whose making could run code.

    """
    reader = CarefulReader(path)
    state = {name: torch.empty_like(one, device="cpu") for name, one in shapes(reader).items()}
    read_into({"state_dict": dict(state)}, reader)
    return {**read_plain(path), "state_dict": state}
