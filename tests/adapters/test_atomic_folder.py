"""Tests of atomic folder writes: a save interrupted at any step leaves the old or the new model."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import torch
from torch import Tensor

from litgpt.adapters.checkpoints.files import atomic_folder
from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.checkpoints.hf.writer import HFWriter
from litgpt.adapters.checkpoints.local_store import LocalStore
from litgpt.adapters.checkpoints.peft.adapter_folder import read_adapter
from litgpt.adapters.checkpoints.peft.writer import write_adapter
from litgpt.domain.errors import CorruptFile, UnsupportedOperation
from litgpt.domain.lora.config import LoraAdapter, LoraConfig, LoraWeights
from litgpt.domain.ports import ModelToSave
from litgpt.domain.progress import null_reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerFiles
from litgpt.domain.weights.tensor_info import TensorInfo
from tests.contracts.distribution_strategy import CONFIG, shapes
from tests.interrupting import failing_at, killed_at, paused_at, steps_of

MODULE = "model.layers.0.self_attn.q_proj"
REFUSED = 0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are not forked there")


@attrs.frozen
class Filled:
    """Weights that are all one number."""

    number: int
    quantization: None = None
    notes: tuple[str, ...] = ()

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        return {
            name: TensorInfo(shape, "F32", 4 * torch.Size(shape).numel()) for name, shape in shapes().items()
        }

    def read(self, name: str) -> Tensor:
        return torch.full(shapes()[name], float(self.number))


def model(number: int) -> ModelToSave[Tensor]:
    """Return a model whose files all hold one number."""
    return ModelToSave(
        name="tiny",
        config={**CONFIG, "of": number, "tie_word_embeddings": False},
        generation_config={"of": number},
        prompt_style=None,
        tokenizer={
            name: json.dumps({"of": number}).encode()
            for name in ("tokenizer.json", f"additional_chat_templates/{number}.jinja")
        },
        weights=Filled(number),
    )


def save_folder(folder: Path, number: int) -> None:
    """Save in one file, or in two or three shards."""
    HFWriter({1: 12_000, 2: 8000, 3: 10**9}[number])(folder, model(number), null_reporter)


def save_adapter(folder: Path, number: int) -> None:
    pair = LoraWeights(torch.full((2, 6), float(number)), torch.full((8, 2), float(number)), 2, number)
    write_adapter(
        folder,
        LoraAdapter(config=LoraConfig(rank=2, alpha=number, targets=("q_proj",)), weights={MODULE: pair}),
    )


SAVERS = {"hugging face": save_folder, "peft": save_adapter}


def numbers_in(folder: Path) -> set[float]:
    """Return the distinct numbers of the model or adapter in a folder, or REFUSED."""
    reference = ModelReference(str(folder))
    try:
        if (folder / "adapter_config.json").exists():
            adapter = read_adapter(LocalStore().path(reference))
            pair = adapter.weights[MODULE]
            return {pair.alpha, *pair.lora_A.flatten().tolist(), *pair.lora_B.flatten().tolist()}
        opened = LocalStore().open(reference)
    except CorruptFile as error:
        assert "Save the model to it again" in str(error)  # noqa: PT017 - that it is raised is not asserted
        return {REFUSED}
    tensors = [opened.read(name) for name in shapes()]
    opened.close()
    tokenizer = opened.read_tokenizer()
    assert isinstance(tokenizer, TokenizerFiles)
    small = [folder / name for name in ("config.json", "generation_config.json", *tokenizer.paths)]
    templates = [int(path.stem) for path in (folder / "additional_chat_templates").glob("*.jinja")]
    return {
        *(number for tensor in tensors for number in tensor.unique().tolist()),
        *(json.loads(value.read_text())["of"] for value in small),
        *templates,
    }


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


USERS = {
    "notes.coming": b"mine",
    "model-00007-of-00009.safetensors": b"mine",
    "figures/loss.txt": b"mine",
    "additional_chat_templates/notes.txt": b"mine",
}


@attrs.frozen
class Place:
    """A folder with a model and optional user files, fresh for each test."""

    folder: Path
    template: Path
    save: Callable[[Path, int], None]
    users: dict[str, bytes]
    after: dict[str, bytes]

    def fresh(self) -> Path:
        shutil.rmtree(self.folder.parent, ignore_errors=True)
        self.folder.parent.mkdir()
        shutil.copytree(self.template, self.folder)
        return self.folder

    def save_once_more(self) -> None:
        """Check that a second save leaves only its model and the user's files."""
        self.save(self.folder, 3)
        assert files_in(self.folder) == self.after
        assert [path.name for path in self.folder.parent.iterdir()] == [self.folder.name]


def prepared(folder: Path, kind: str, users: dict[str, bytes]) -> Place:
    save = SAVERS[kind]
    save(folder / "template", 1)
    for name, content in users.items():
        path = folder / "template" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    save(folder / "after", 3)
    assert numbers_in(folder / "after") == {3}
    after = files_in(folder / "after") | users
    return Place(folder / "here" / "model", folder / "template", save, users, after)


PLACES = [pytest.param({}, id="alone"), pytest.param(USERS, id="beside files of the user")]


@pytest.mark.parametrize(("kind", "users"), [("hugging face", {}), *((kind, USERS) for kind in SAVERS)])
def test_killed_before_any_step_a_save_leaves_the_old_model_or_the_new_or_is_refused(
    kind: str, users: dict[str, bytes], tmp_path: Path
) -> None:
    place = prepared(tmp_path, kind, users)
    results: list[float] = []
    place.fresh()
    for step in range(1, steps_of(lambda: place.save(place.folder, 2)) + 1):
        place.fresh()
        assert killed_at(step, lambda: place.save(place.folder, 2))
        (number,) = numbers_in(place.folder)
        results.append(number)
        assert files_in(place.folder).items() >= users.items()
        place.save_once_more()
    order = {1: 0, REFUSED: 1, 2: 2}
    assert results == sorted(results, key=lambda number: order[int(number)])
    assert {1, 2} <= {*results}
    if sys.platform == "linux" and not users:
        assert REFUSED not in results  # one rename


@pytest.mark.parametrize(("kind", "users"), [("peft", {}), ("hugging face", USERS)])
def test_a_failure_at_any_step_leaves_the_old_model_and_nothing_else(
    kind: str, users: dict[str, bytes], tmp_path: Path
) -> None:
    place = prepared(tmp_path, kind, users)
    place.fresh()
    for step in range(1, steps_of(lambda: place.save(place.folder, 2)) + 1):
        before = files_in(place.fresh())
        failed = failing_at(step, lambda: place.save(place.folder, 2))
        (number,) = numbers_in(place.folder)
        assert number in ((1, 2) if failed else (2,))
        if number == 1:
            assert files_in(place.folder) == before
            assert not list(place.folder.parent.glob("**/.saving-*"))


@pytest.mark.parametrize("users", PLACES)
def test_concurrent_saves_wait_or_report_and_both_are_complete(
    users: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic_folder, "_MAX_WAIT_SECONDS", 0.0)
    place = prepared(tmp_path, "peft", users)
    place.fresh()
    refused = []

    def second() -> None:
        try:
            place.save(place.folder, 3)
        except UnsupportedOperation as error:
            refused.append(str(error))

    for step in range(1, steps_of(lambda: place.save(place.folder, 2)) + 1):
        place.fresh()
        assert paused_at(step, lambda: place.save(place.folder, 2), second) == 0
        assert numbers_in(place.folder) in ({2}, {3})
        assert files_in(place.folder).keys() == place.after.keys()
        place.save_once_more()
    assert any("another process has been saving to it" in value for value in refused)


@pytest.mark.parametrize("users", PLACES)
def test_every_file_is_on_the_disk_before_it_takes_its_name_and_then_the_names_are(
    users: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, flush = prepared(tmp_path, "hugging face", users).fresh(), os.fsync
    flushed: list[tuple[int, bool]] = []

    def model_there() -> bool:
        return (folder / "model.safetensors").exists() and (folder / "config.json").exists()

    def recorded(descriptor: int) -> None:
        flushed.append((os.fstat(descriptor).st_ino, model_there()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    save_folder(folder, 3)
    before = {inode for inode, is_final in flushed if not is_final}
    assert {(folder / name).stat().st_ino for name in files_in(folder).keys() - users.keys()} <= before
    assert (folder if users else folder.parent).stat().st_ino in {
        inode for inode, is_final in flushed if is_final
    }


def test_links_under_the_names_of_a_model_are_replaced_and_not_followed(tmp_path: Path) -> None:
    precious, folder = tmp_path / "precious", tmp_path / "model"
    (precious / "templates").mkdir(parents=True)
    (precious / "templates" / "2.jinja").write_text("kept")
    (precious / "file").write_text("kept")
    folder.mkdir()
    (folder / "additional_chat_templates").symlink_to(precious / "templates")
    (folder / f".saving-{'a' * 32}").symlink_to(precious)
    (folder / f".saving-{'a' * 32}.old").symlink_to(precious)
    for name in ("config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json"):
        (folder / name).symlink_to(precious / "file")
    before = files_in(precious)
    save_folder(folder, 2)
    assert files_in(precious) == before
    assert numbers_in(folder) == {2}
    links = {path.name for path in folder.iterdir() if path.is_symlink()}
    assert links == {f".saving-{'a' * 32}", f".saving-{'a' * 32}.old"}  # not created by a save


def test_links_to_folders_are_followed_and_dangling_ones_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "model")
    with pytest.raises(UnsupportedOperation, match="a dangling link"):
        save_folder(tmp_path / "link", 1)
    assert not (tmp_path / "model").exists()
    save_folder(tmp_path / "model", 1)
    save_folder(tmp_path / "link", 2)
    assert (tmp_path / "link").is_symlink()
    assert numbers_in(tmp_path / "model") == {2}


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_in_the_place_of_a_file_is_an_error_before_anything_is_written(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").write_bytes(b"mine")
    with pytest.raises(UnsupportedOperation, match=f"{name} is a folder"):
        save_folder(tmp_path, 1)
    assert files_in(tmp_path) == {f"{name}/mine": b"mine"}


def test_folders_that_were_made_for_a_save_that_fails_are_gone(tmp_path: Path) -> None:
    def interrupted(_: object) -> None:
        assert (tmp_path / "a" / "b").is_dir()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        HFWriter()(tmp_path / "a" / "b", model(1), interrupted)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_a_process_is_in_is_not_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inode = tmp_path.stat().st_ino
    save_folder(Path(), 1)
    save_folder(Path(), 2)
    assert Path.cwd().stat().st_ino == inode
    assert numbers_in(Path()) == {2}


def test_permissions_of_the_folder_stay(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir(mode=0o700)
    inode = folder.stat().st_ino
    save_folder(folder, 1)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sys.platform != "linux" or folder.stat().st_ino != inode


def test_mapped_tensors_stay_valid_when_another_model_is_saved_there(tmp_path: Path) -> None:
    save_folder(tmp_path, 2)
    opened = open_hf_folder(tmp_path, "tiny")
    name = "model.embed_tokens.weight"
    mapped = opened.read(name)
    HFWriter(8000)(tmp_path, model(1), null_reporter)  # files of the same names and sizes
    assert torch.equal(mapped, torch.full_like(mapped, 2))
    assert torch.equal(opened.read(name), mapped)
    opened.close()
    with pytest.raises(CorruptFile, match=r"was replaced .* Load the model again"):
        opened.read(name)
