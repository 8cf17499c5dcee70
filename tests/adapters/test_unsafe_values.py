"""Tests of unsafe checkpoints: the error names the unsafe part, and no code is run."""

import argparse
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from litgpt.adapters.training.checkpoint_reader import read_checkpoint
from litgpt.adapters.training.unsafe_pickle import unsafe_values
from litgpt.domain.errors import UnsafeFile


class Settings:
    """A user-defined class."""

    def __init__(self) -> None:
        self.rate = 0.1


class Attack:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def checkpoint(folder: Path, **content: Any) -> Path:
    path = folder / "last.ckpt"
    torch.save({"state_dict": OrderedDict(a=torch.ones(3)), **content}, path)
    return path


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Settings(), r"hyper_parameters\['value'\] \(tests\.adapters\.test_unsafe_values\.Settings\)"),
        (Settings, r"hyper_parameters\['value'\] \(tests\.adapters\.test_unsafe_values\.Settings\)"),
        ({"a": [1, Settings()]}, r"hyper_parameters\['value'\]\['a'\]\[1\] \(.*Settings\)"),
        (argparse.Namespace(a=1), r"hyper_parameters\['value'\] \(argparse\.Namespace\)"),
        (Path("x"), r"hyper_parameters\['value'\] \(pathlib\.PosixPath\)"),
        (print, r"hyper_parameters\['value'\] \(builtins\.print\)"),
        (range(3), r"hyper_parameters\['value'\] \(builtins\.range\)"),
        (OrderedDict(a=(1, Settings())), r"hyper_parameters\['value'\]\['a'\]\[1\] \(.*Settings\)"),
    ],
)
def test_the_hyperparameter_is_named(tmp_path: Path, value: object, named: str) -> None:
    path = checkpoint(tmp_path, hyper_parameters={"rate": 0.1, "value": value})
    with pytest.raises(UnsafeFile, match=rf"last\.ckpt .* It holds {named}\. Save hyperparameters"):
        read_checkpoint(path)


def test_looking_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = checkpoint(tmp_path, callbacks={"mine": {"last": Attack(mark)}}, hyper_parameters={"a": 1})
    assert unsafe_values(path) == ["callbacks['mine']['last'] (pathlib.Path)"]
    assert not mark.exists()


def test_only_a_few_unsafe_values_are_named(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, hyper_parameters={str(i): Settings() for i in range(99)})
    assert len(unsafe_values(path)) == 5
    assert unsafe_values(checkpoint(tmp_path)) == []
    path.write_bytes(b"PK\x03\x04")
    assert unsafe_values(path) == []
