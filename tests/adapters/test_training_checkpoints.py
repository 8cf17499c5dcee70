"""Tests of single-file checkpoints: complete and flushed before they get their name."""

import os
from pathlib import Path

import pytest
import torch

from litgpt.adapters.training.checkpointing import AtomicCheckpointIO, newest_checkpoint
from litgpt.application.files.atomic_write import remove_abandoned
from tests.interrupting import failing_at, killed_at, steps_of

OLD, NEW = {"state_dict": {"weight": torch.zeros(2)}}, {"state_dict": {"weight": torch.ones(2)}}


def save(path: Path, content: dict[str, dict[str, torch.Tensor]]) -> None:
    writer = AtomicCheckpointIO()
    writer.save_checkpoint(content, path)
    assert writer.failure is None


def weight_in(path: Path) -> torch.Tensor:
    weight: torch.Tensor = AtomicCheckpointIO().load_checkpoint(path)["state_dict"]["weight"]
    return weight


def test_a_planted_link_is_not_written_through_and_stays(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept", encoding="utf-8")
    path = tmp_path / "step-00000001.ckpt"
    path.symlink_to(precious)
    save(path, NEW)
    assert precious.read_text(encoding="utf-8") == "kept"
    assert path.is_file()
    assert not path.is_symlink()
    assert sorted(tmp_path.iterdir()) == sorted([path, precious])


def test_killed_between_any_two_steps_the_newest_checkpoint_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    first, second = tmp_path / "step-00000001.ckpt", tmp_path / "step-00000002.ckpt"
    save(first, OLD)
    (tmp_path / "x.coming").write_text("mine", encoding="utf-8")
    steps = steps_of(lambda: save(second, NEW))
    assert steps > 3
    for step in range(1, steps + 1):
        second.unlink(missing_ok=True)
        killed_at(step, lambda: save(second, NEW))
        actual = newest_checkpoint(tmp_path)
        assert actual is not None
        assert torch.equal(weight_in(actual), (OLD, NEW)[actual == second]["state_dict"]["weight"])
        remove_abandoned(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} - {second.name} == {first.name, "x.coming"}


def test_a_failure_at_any_step_leaves_no_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.ckpt"
    save(path, OLD)

    def attempt() -> None:
        AtomicCheckpointIO().save_checkpoint(NEW, path)

    for step in range(1, steps_of(attempt) + 1):
        failing_at(step, attempt)
        assert [path.name for path in tmp_path.iterdir()] in ([path.name], [])
        assert weight_in(path).shape == (2,)


def test_an_interruption_leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        AtomicCheckpointIO().save_checkpoint(NEW, tmp_path / "step-00000001.ckpt")
    assert list(tmp_path.iterdir()) == []
