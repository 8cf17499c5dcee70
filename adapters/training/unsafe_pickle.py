"""Which values of a checkpoint make its pickle unsafe, found without running any of it."""

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
from litgpt.domain.validation.untrusted_files import check_archive, check_pickle, translate_read_errors

_MAX_REPORTED = 5
"""How many values an error names."""

_MAX_VALUES = 100_000

_GETATTR = "builtins.getattr"


_REMEDY = (
    "Save hyperparameters and the states of callbacks as plain values (numbers, strings, lists, "
    "dictionaries), or leave them out: self.save_hyperparameters(ignore=[…])."
)


def load_archive(path: Path, *, mmap: bool = False) -> Any:
    """Return what `torch.save` wrote to a file: tensors and plain values, and nothing that could run code.

    Raises:
        MissingFile: The file does not exist.
        CorruptFile: It is cut short, or would take more memory than it has bytes.
        UnsafeFile: It holds objects whose making could run code.

    """
    with translate_read_errors(path):
        with path.open("rb") as file:
            check_archive(path, file)
        try:
            return torch.load(path, map_location="cpu", mmap=mmap, weights_only=True)
        except pickle.UnpicklingError as error:
            raise unsafe_checkpoint(path) from error


def unsafe_checkpoint(path: Path) -> UnsafeFile:
    """Return the error for a checkpoint that `weights_only=True` refuses, with the values in question."""
    found = unsafe_values(path)
    return UnsafeFile(str(path), f"It holds {', '.join(found)}. {_REMEDY}" if found else _REMEDY)


def unsafe_values(path: Path) -> list[str]:
    """Return where a checkpoint holds objects that `weights_only=True` refuses, and of which type they are.

    Args:
        path: A file that `torch.save` has written.

    Returns:
        Such as `hyper_parameters['optimizer'] (mine.Settings)`; empty if nothing can be found out.

    """
    try:
        refused = set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        with zipfile.ZipFile(path) as archive:
            name = next(one for one in archive.namelist() if one.endswith("/data.pkl"))
            raw = archive.read(name)
        check_pickle(raw)
        content = _InertUnpickler(io.BytesIO(raw)).load()
        found: dict[str, str] = {}
        for where, kind in islice(_find_unsafe(content, "", refused, iter(range(_MAX_VALUES))), 1000):
            found.setdefault(where, kind)
        return [f"{where} ({kind})" for where, kind in islice(found.items(), _MAX_REPORTED)]
    except Exception:  # noqa: BLE001 - the file is refused in any case; this only explains it
        return []


class _Inert:
    """Stands for an object of any class, or the result of any call, and remembers what it was given."""

    kind = ""

    def __new__(cls, *arguments: object, **_: object) -> Self:
        made = super().__new__(cls)
        made.arguments, made.held = list(arguments), {}
        return made

    arguments: list[object]
    held: dict[object, object]

    def __init__(self, *_: object, **__: object) -> None:
        """Do nothing."""

    def __call__(self, *arguments: object) -> "_Inert":
        return _Inert(self, *arguments)

    def __setstate__(self, state: object) -> None:
        self.arguments.append(state)

    def __setitem__(self, key: object, value: object) -> None:
        self.held[key] = value

    def append(self, value: object) -> None:
        """Hold one more."""
        self.held[len(self.held)] = value

    def extend(self, values: Sequence[object]) -> None:
        """Hold some more."""
        for value in values:
            self.append(value)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


class _InertUnpickler(pickle.Unpickler):
    """Reads a pickle and calls nothing that it names."""

    def find_class(self, module: str, name: str) -> Any:
        # torch.save writes the names of Python 2, as pickle's protocol 2 does: `__builtin__.xrange`.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        return type("Named", (_Inert,), {"kind": f"{module}.{name}"})

    def persistent_load(self, _: object) -> Any:
        return None  # the numbers of a tensor


def _find_unsafe(
    value: object, where: str, refused: set[str], budget: Iterator[int]
) -> Iterator[tuple[str, str]]:
    """Yield where each refused object within a value is, which is at `where` itself, and its type.

    Lists that hold another list twice, level by level, double with each: no more values are looked at than
    the budget has.
    """
    if next(budget, None) is None:
        return
    kind = getattr(value, "kind", None)
    if kind in refused and kind != _GETATTR:
        yield where, str(kind)
    if isinstance(value, _Inert):
        for one in value.arguments:
            yield from _find_unsafe(one, where, refused, budget)
        if kind == _GETATTR:  # of a method, its class says more
            yield where, _GETATTR
        value = value.held
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _find_unsafe(key, where, refused, budget)
            yield from _find_unsafe(one, f"{where}[{key!r}]" if where else str(key), refused, budget)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for number, one in enumerate(value):
            yield from _find_unsafe(one, f"{where}[{number}]", refused, budget)
