"""Tensors of safetensors and GGUF files as zero-copy views of a memory-mapped file.

docs/decisions/safetensors.md explains why the `safetensors` package is not used for this.
"""

import errno
import mmap
import os
import platform
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.files.safetensors_header import TensorEntry
from litgpt.domain.errors import CorruptFile, InsufficientSpace, MissingFile, UnsupportedModel
from litgpt.domain.weights.raw_tensor import RawRows
from litgpt.domain.weights.tensor_info import DType

if TYPE_CHECKING:
    import torch

# safetensors' and torch's names of dtypes. torch has no dtypes for safetensors' sub-byte formats.
TORCH_DTYPE_NAMES = {
    "BOOL": "bool",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}

# Linux reserves memory for each writable page and rejects a mapping that exceeds it, unless this flag is set.
# Python names the flag since 3.13; the number is that of these processors
# (include/uapi/asm-generic/mman-common.h).
_HAS_LINUX_FLAG = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")
_NO_RESERVATION: int = getattr(mmap, "MAP_NORESERVE", 0x4000 if _HAS_LINUX_FLAG else 0)


@attrs.define
class MmapFile:
    """A memory-mapped file; it stays mapped while this object or a tensor created from it is in use.

    Tensors are in a private mapping: writing to a tensor, as training does, changes the process's copy of the
    page and never the file. Raw rows are in a mapping of their own, which is read-only, so that dropping its
    pages cannot lose such changes. `size` and `file_id` (device and inode) are those at which its header was
    read.
    """

    path: Path
    size: int
    file_id: tuple[int, int] | None = None
    _map: mmap.mmap | None = attrs.field(default=None, init=False, repr=False)
    _raw_map: mmap.mmap | None = attrs.field(default=None, init=False, repr=False)
    _identity: tuple[str | int, ...] | None = attrs.field(default=None, init=False, repr=False)

    def tensor(self, name: str, entry: TensorEntry, dtype: DType | None) -> "torch.Tensor":
        """Return a tensor of the file: a view, unless another dtype is requested.

        Raises:
            MissingFile: The file was removed after its header was read.
            CorruptFile: The file was replaced or changed its size.
            UnsupportedModel: torch does not have the stored dtype.
            InsufficientSpace: The system does not allow a mapping of this size.
        """
        import torch

        stored = getattr(torch, TORCH_DTYPE_NAMES.get(entry.info.storage_format, ""), None)
        if not isinstance(stored, torch.dtype):
            raise UnsupportedModel(
                str(self.path),
                f"tensor {name!r} is stored as {entry.info.storage_format}, which is not supported.",
            )
        if not entry.info.nbytes:
            tensor = torch.empty(entry.info.shape, dtype=stored)  # torch cannot view an empty buffer
        else:
            # Each view has its own storage, so that saving a tensor does not save the whole file.
            raw = torch.frombuffer(
                self._mapped(), dtype=torch.uint8, count=entry.info.nbytes, offset=entry.start
            )
            aligned = raw.clone() if entry.start % stored.itemsize else raw  # kernels require alignment
            tensor = aligned.view(stored).view(entry.info.shape)
        return tensor if dtype is None else tensor.to(getattr(torch, dtype))

    def raw_rows(self, storage_format: str, start: int, nbytes: int, row_numbers: Sequence[int]) -> RawRows:
        """Return the bytes from `start` on as rows of a tensor; the errors are those of `tensor`."""
        if self._raw_map is None:
            self._raw_map = self._map_with(_map_read_only)
        data = memoryview(self._raw_map).toreadonly()[start : start + nbytes]
        drop_pages = partial(_drop_pages, self._raw_map, start, nbytes)
        return RawRows(storage_format, lambda: data, row_numbers, drop_pages, file=self._identity)

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            self._map = self._map_with(_map_privately)
        return self._map

    def _map_with(self, map_descriptor: Callable[[int], mmap.mmap]) -> mmap.mmap:
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if self.file_id not in (None, (status.st_dev, status.st_ino)):
                    reason = "it was replaced after the model was opened. Load the model again."
                    raise CorruptFile(str(self.path), reason)
                mapped = map_descriptor(file.fileno())
                times = status.st_mtime_ns, status.st_ctime_ns
                self._identity = os.path.realpath(self.path), status.st_ino, status.st_size, *times
        except FileNotFoundError as error:
            raise MissingFile(str(self.path), "it was removed after the model was opened.") from error
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOMEM:
                raise self._too_large() from error
            raise CorruptFile(str(self.path), f"it cannot be mapped into memory ({error}).") from error
        if len(mapped) != self.size:
            raise CorruptFile(str(self.path), f"it had {self.size} bytes and now has {len(mapped)}.")
        return mapped

    def _too_large(self) -> InsufficientSpace:
        reason = (
            "this system does not allow a mapping of this size. "
            "Allow more virtual memory, or use smaller shards."
        )
        return InsufficientSpace(f"Mapping the {self.size} bytes of {self.path} into memory", reason)

    def release(self) -> None:
        """Release the file. Tensors created from it keep it mapped."""
        # close() would fail while a tensor uses a map; the last reference closes it
        self._map = self._raw_map = None


def _map_privately(descriptor: int) -> mmap.mmap:
    if hasattr(mmap, "MAP_PRIVATE"):
        flags = mmap.MAP_PRIVATE | _NO_RESERVATION
        return mmap.mmap(descriptor, 0, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    return mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)


def _map_read_only(descriptor: int) -> mmap.mmap:
    return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)


def _drop_pages(mapped: mmap.mmap, start: int, nbytes: int) -> None:
    """Drop pages from the process's memory where the system allows it; they stay in the page cache."""
    if hasattr(mmap, "MADV_DONTNEED") and nbytes:
        first = start // mmap.PAGESIZE * mmap.PAGESIZE
        mapped.madvise(mmap.MADV_DONTNEED, first, start + nbytes - first)
