"""Tests of the detection of hardware."""

import sys
from pathlib import Path

import pytest

from litgpt.adapters.pytorch.runtime import hardware


@pytest.mark.parametrize(
    ("platform", "cpu_only", "files", "may_have_gpu"),
    [
        ("linux", False, ["null"], False),
        ("linux", False, ["nvidiactl"], True),
        ("linux", False, ["kfd"], True),
        ("linux", True, ["nvidiactl"], False),
        ("darwin", False, [], True),
        ("win32", True, [], False),
    ],
)
def test_torch_is_asked_for_gpus_where_there_may_be_one(
    platform: str,
    files: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    cpu_only: bool,
    may_have_gpu: bool,
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(hardware, "is_cpu_only_torch", lambda: cpu_only)
    for name in files:
        (tmp_path / name).touch()
    assert hardware.may_have_gpu(tmp_path) is may_have_gpu
