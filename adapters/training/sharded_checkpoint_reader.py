"""Read sharded Trainer checkpoints (torch.distributed.checkpoint) safely.

torch.distributed.checkpoint stores its metadata as a pickle and loads it without restrictions. The unpickler
of this module only permits the classes of the metadata itself.
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
from litgpt.domain.validation.untrusted_files import error_message, translate_read_errors
from litgpt.domain.validation.untrusted_pickles import MAX_PICKLE_BYTES, check_pickle

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
            message = f"{module}.{name} is not allowed in checkpoint metadata"
            raise pickle.UnpicklingError(message)
        return super().find_class(module, name)


class SafeReader(FileSystemReader):
    """Reads the metadata with a restricted unpickler; torch reads the tensors with weights_only."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        del args, kwargs
        path = Path(self.path) / ".metadata"
        with translate_read_errors(path, missing="it lists the tensors of the checkpoint."):
            if path.stat().st_size > MAX_PICKLE_BYTES:
                raise CorruptFile(str(path), f"it has more than {MAX_PICKLE_BYTES} bytes.")
            raw = path.read_bytes()
            check_pickle(raw)
            try:
                metadata = _SafeUnpickler(io.BytesIO(raw)).load()
            except pickle.UnpicklingError as error:
                raise UnsafeFile(str(path), f"({error_message(error)}.)") from error
        listed = getattr(metadata, "state_dict_metadata", None)
        if not isinstance(metadata, Metadata) or not isinstance(listed, dict):
            raise CorruptFile(str(path), "it is not a list of tensors.")
        return metadata


def is_sharded_checkpoint(path: Path) -> bool:
    """Return whether a folder is a sharded checkpoint."""
    return (path / ".metadata").is_file() and (path / _META_FILE).is_file()


def read_shapes(reader: SafeReader) -> dict[str, Tensor]:
    """Return the weights of a checkpoint by name, as tensors on the meta device."""
    listed = reader.read_metadata().state_dict_metadata
    with translate_read_errors(str(Path(reader.path) / ".metadata")):
        return {
            name.removeprefix(_STATE): torch.empty(info.size, dtype=info.properties.dtype, device="meta")
            for name, info in listed.items()
            if name.startswith(_STATE) and isinstance(info, TensorStorageMetadata)
        }


def read_into(state: dict[str, Any], reader: SafeReader) -> None:
    """Load tensors in place, by name; all processes take part.

    `state` must contain tensors only: torch loads other values without restrictions.
    """
    is_single_process = not torch.distributed.is_initialized()
    with translate_read_errors(str(reader.path)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # intended
        load(state, storage_reader=reader, no_dist=is_single_process)


def read_plain_values(path: Path) -> dict[str, Any]:
    """Return the contents of a checkpoint other than weights and optimizer moments."""
    plain = load_archive(path / _META_FILE)
    if not isinstance(plain, dict):
        raise CorruptFile(str(path / _META_FILE), "it is not a dictionary.")
    return plain


def read_sharded(path: Path) -> dict[str, Any]:
    """Return a sharded checkpoint in the form of a single-file one, with the tensors as `state_dict`."""
    reader = SafeReader(path)
    listed = read_shapes(reader)
    with translate_read_errors(str(path)):
        available = sum(file.stat().st_size for file in path.iterdir())
    if (needed := sum(tensor.numel() * tensor.itemsize for tensor in listed.values())) > available:
        raise CorruptFile(str(path), f"its tensors take {needed} bytes, but its files have {available}.")
    state = {name: torch.empty_like(tensor, device="cpu") for name, tensor in listed.items()}
    read_into({"state_dict": dict(state)}, reader)
    return {**read_plain_values(path), "state_dict": state}
