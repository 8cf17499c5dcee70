"""Trainer checkpoints in several files, one from each process, read in one process.

torch.distributed.checkpoint writes which tensor lies where as a pickle, and reads it without care. Here
nothing is made of it but the plain values that such a list consists of.
"""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

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
            DamagedFile: The list cannot be read.
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

    def shapes(self) -> dict[str, Tensor]:
        """Return what the model's tensors are like, without what they hold.

        Raises:
            DamagedFile: The list of them cannot be read.
            UnsafeFile: It holds objects whose making could run code.

        """
        tensors: Mapping[str, Any] = self.read_metadata().state_dict_metadata
        return {
            name.removeprefix(_STATE): torch.empty(
                tuple(info.size), dtype=info.properties.dtype, device="meta"
            )
            for name, info in tensors.items()
            if name.startswith(_STATE) and isinstance(info, TensorStorageMetadata)
        }


def is_sharded_checkpoint(path: Path) -> bool:
    """Return whether a folder is such a checkpoint."""
    return (path / ".metadata").is_file() and (path / _PLAIN).is_file()


def read_sharded(path: Path) -> dict[str, Any]:
    """Return a checkpoint as it would be in one file: its plain values, and the tensors as `state_dict`.

    Raises:
        DamagedFile: A file of it is missing or cut short.
        UnsafeFile: It holds objects whose making could run code.

    """
    reader, plain = CarefulReader(path), read_plain(path)
    state = {name: torch.empty_like(tensor, device="cpu") for name, tensor in reader.shapes().items()}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # that is what is meant
            named = {_STATE + name: tensor for name, tensor in state.items()}
            load(dict(named), storage_reader=reader, no_dist=True)
    except pickle.UnpicklingError as error:
        raise UnsafeFile(str(path)) from error
    except (OSError, EOFError, RuntimeError, CheckpointException) as error:
        raise DamagedFile(str(path), f"a part of it cannot be read ({error}).") from error
    return {**plain, "state_dict": state}


def read_plain(path: Path) -> dict[str, Any]:
    """Return what of a checkpoint is no tensor of the model or of an optimiser.

    Raises:
        DamagedFile: It is missing or cut short.
        UnsafeFile: It holds objects whose making could run code.

    """
    try:
        found: dict[str, Any] = torch.load(path / _PLAIN, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeFile(str(path / _PLAIN)) from error
    except (OSError, EOFError, RuntimeError) as error:
        raise DamagedFile(str(path / _PLAIN), f"it cannot be read ({error}).") from error
    return found
