"""A checkpoint in one file is written under a name of its own."""

from pathlib import Path

import torch

from litgpt.adapters.training.checkpoints import COMING, WholeFiles


def test_a_planted_link_is_not_written_through_and_stays(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept", encoding="utf-8")
    path = tmp_path / "step-00000001.ckpt"
    planted = path.with_name(path.name + COMING)
    planted.symlink_to(precious)
    writer = WholeFiles()
    writer.save_checkpoint({"weight": torch.ones(2)}, path)
    assert writer.failure is None
    assert precious.read_text(encoding="utf-8") == "kept"
    assert planted.is_symlink()
    assert path.is_file()
    assert not path.is_symlink()
    assert sorted(tmp_path.iterdir()) == sorted([planted, path, precious])
