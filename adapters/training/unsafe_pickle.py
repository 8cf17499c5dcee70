"""Load `torch.save` archives safely, and locate unsafe values without executing them."""

import io
import pickle
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self

import torch

from litgpt.domain.errors import UnsafeFile
from litgpt.domain.validation.untrusted_files import translate_read_errors
from litgpt.domain.validation.untrusted_pickles import check_archive, check_pickle

_MAX_REPORTED = 5
"""The number of values that an error lists."""

_MAX_VALUES = 100_000

_GETATTR = "builtins.getattr"


_REMEDY = (
    "Save hyperparameters and the states of callbacks as plain values (numbers, strings, lists, "
    "dictionaries), or leave them out: self.save_hyperparameters(ignore=[…])."
)


def load_archive(path: Path, *, mmap: bool = False) -> Any:
    """Load a file of `torch.save` with tensors and plain values only."""
    with translate_read_errors(path):
        with path.open("rb") as file:
            check_archive(path, file)
        try:
            return torch.load(path, map_location="cpu", mmap=mmap, weights_only=True)
        except pickle.UnpicklingError as error:
            raise unsafe_checkpoint(path) from error


def unsafe_checkpoint(path: Path) -> UnsafeFile:
    """Return the error for a checkpoint that `weights_only=True` rejects, with the unsafe values."""
    values = unsafe_values(path)
    return UnsafeFile(str(path), f"It holds {', '.join(values)}. {_REMEDY}" if values else _REMEDY)


def unsafe_values(path: Path) -> list[str]:
    """Return the locations and types of objects in a checkpoint that `weights_only=True` rejects.

    For example `hyper_parameters['optimizer'] (mine.Settings)`; empty if they cannot be determined.
    """
    try:
        refused = set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        with zipfile.ZipFile(path) as archive:
            name = next(entry for entry in archive.namelist() if entry.endswith("/data.pkl"))
            raw = archive.read(name)
        check_pickle(raw)
        content = _InertUnpickler(io.BytesIO(raw)).load()
        kinds: dict[str, str] = {}
        for where, kind in islice(_find_unsafe(content, "", refused, iter(range(_MAX_VALUES))), 1000):
            kinds.setdefault(where, kind)
        return [f"{where} ({kind})" for where, kind in islice(kinds.items(), _MAX_REPORTED)]
    except Exception:  # noqa: BLE001 - the file is rejected anyway; this only adds details
        return []


class _Inert:
    """Replaces an object of any class or the result of any call, and records its arguments."""

    kind = ""

    def __new__(cls, *arguments: object, **_: object) -> Self:
        instance = super().__new__(cls)
        instance.arguments, instance.held = list(arguments), {}
        return instance

    arguments: list[object]
    held: dict[object, object]

    def __init__(self, *_: object, **__: object) -> None:
        """Ignore the arguments, which `__new__` records."""

    def __call__(self, *arguments: object) -> "_Inert":
        return _Inert(self, *arguments)

    def __setstate__(self, state: object) -> None:
        self.arguments.append(state)

    def __setitem__(self, key: object, value: object) -> None:
        self.held[key] = value

    def append(self, value: object) -> None:
        self.held[len(self.held)] = value

    def extend(self, values: Sequence[object]) -> None:
        for value in values:
            self.append(value)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


class _InertUnpickler(pickle.Unpickler):
    """Reads a pickle without importing or calling any of its globals."""

    def find_class(self, module: str, name: str) -> Any:
        # torch.save uses pickle protocol 2, which has Python 2 names such as `__builtin__.xrange`.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        return type("Named", (_Inert,), {"kind": f"{module}.{name}"})

    def persistent_load(self, _: object) -> Any:
        return None  # the storage of a tensor


def _find_unsafe(
    value: object, where: str, refused: set[str], budget: Iterator[int]
) -> Iterator[tuple[str, str]]:
    """Yield the location and type of each rejected object within a value, which is at `where`.

    The budget bounds the number of visited values: nested lists that contain each other twice have
    exponentially many paths.
    """
    if next(budget, None) is None:
        return
    kind = getattr(value, "kind", None)
    if kind in refused and kind != _GETATTR:
        yield where, str(kind)
    if isinstance(value, _Inert):
        for argument in value.arguments:
            yield from _find_unsafe(argument, where, refused, budget)
        if kind == _GETATTR:  # for a method, the type of its object comes first
            yield where, _GETATTR
        value = value.held
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _find_unsafe(key, where, refused, budget)
            yield from _find_unsafe(item, f"{where}[{key!r}]" if where else str(key), refused, budget)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, item in enumerate(value):
            yield from _find_unsafe(item, f"{where}[{index}]", refused, budget)
