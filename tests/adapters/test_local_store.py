"""Tests of `LocalStore`: the port's contract for each format, and invalid folders."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from litgpt.adapters.checkpoints.local_store import LocalStore
from litgpt.domain.errors import (
    CorruptFile,
    InvalidArgument,
    InvalidCheckpoint,
    MissingFile,
    ModelNotFound,
    UnsafeFile,
)
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerFiles
from tests.adapters.litgpt_writer import litgpt_state, settings_of, write_litgpt_folder
from tests.adapters.tiny_gguf import write_tiny_gguf
from tests.adapters.tiny_models import tiny_folder, tiny_model
from tests.contracts.model_store import ModelStoreContract


def write_litgpt(folder: Path) -> None:
    state = litgpt_state("qwen2", tiny_model("qwen2").state_dict())
    write_litgpt_folder(folder, settings_of("qwen2"), state)


def write_gguf(folder: Path) -> None:
    folder.mkdir()
    write_tiny_gguf(folder / "tiny-q8_0.gguf")


class OnDisk(ModelStoreContract):
    def write(self, folder: Path) -> None:
        raise NotImplementedError

    @pytest.fixture
    def root(self, root: Path) -> Path:
        """Return a root under which the model has been written."""
        self.write(root / self.model)
        return root

    @pytest.fixture
    def store(self, root: Path) -> LocalStore:
        return LocalStore(root)

    def test_it_is_found_by_its_path_too(self, root: Path) -> None:
        path = str(root / self.model)
        assert LocalStore(root / "nowhere").open(ModelReference(path)).name == path


class TestFolder(OnDisk):
    def write(self, folder: Path) -> None:
        shutil.copytree(tiny_folder("llama", dtype="bfloat16"), folder)


class TestShards(OnDisk):
    model = "org/tiny"

    def write(self, folder: Path) -> None:
        shutil.copytree(tiny_folder("gemma3_text", sharded=True, dtype="float16"), folder)


class TestLitGptFolder(OnDisk):
    def write(self, folder: Path) -> None:
        write_litgpt(folder)


class TestGgufFile(OnDisk):
    model = "tiny.gguf"

    def write(self, folder: Path) -> None:
        write_tiny_gguf(folder)


class TestFolderWithOneGguf(OnDisk):
    def write(self, folder: Path) -> None:
        write_gguf(folder)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "checkpoints"
    root.mkdir()
    return root


def opened(root: Path, name: str, **requested: Any) -> Any:
    return LocalStore(root).open(ModelReference(name, **requested))


def test_a_path_comes_before_a_name_under_the_root(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_folder("qwen2"), root / "tiny")
    monkeypatch.chdir(tmp_path)
    assert opened(Path("checkpoints"), "tiny").config["model_type"] == "qwen2"
    shutil.copytree(tiny_folder("llama"), tmp_path / "tiny")
    assert opened(Path("checkpoints"), "tiny").config["model_type"] == "llama"


def test_a_tilde_is_the_home_folder(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    shutil.copytree(tiny_folder("llama"), tmp_path / "mine")
    assert opened(root, "~/mine").folder == tmp_path / "mine"
    with pytest.raises(ModelNotFound):
        opened(root, "~no-such-user/mine")


def test_safetensors_precede_litgpt_weights_in_one_folder(root: Path) -> None:
    shutil.copytree(tiny_folder("llama"), root / "both")
    write_litgpt(root / "both")
    assert opened(root, "both").config["model_type"] == "llama"


def test_a_litgpt_folder_may_have_a_copy_of_config_json(root: Path) -> None:
    write_litgpt(root / "tuned")
    shutil.copy(tiny_folder("llama") / "config.json", root / "tuned")
    assert opened(root, "tuned").origin == f"the LitGPT folder {root / 'tuned'}"


def test_names_are_models_only_beside_each_other_or_by_organisation(root: Path) -> None:
    shutil.copytree(tiny_folder("llama"), root / "one")
    shutil.copytree(tiny_folder("llama", sharded=True), root / "org" / "two")
    write_litgpt(root / "org" / "three")
    write_gguf(root / "four")
    (root / "notes").mkdir()
    (root / "readme.txt").write_text("no model")
    assert set(LocalStore(root).names()) == {"one", "org/two", "org/three", "four", "four/tiny-q8_0.gguf"}


def test_without_a_root_there_are_no_names(tmp_path: Path) -> None:
    assert list(LocalStore(tmp_path / "nowhere").names()) == []


@pytest.mark.parametrize("name", ["x" * 5000, "a/" * 3000, "no/such/name", "con:*?"])
def test_a_name_that_no_file_could_have_is_not_found(root: Path, name: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        opened(root, name)
    assert str(root) in caught.value.searched[0]


def test_a_revision_of_what_is_on_disk_is_refused_before_it_is_opened(root: Path) -> None:
    (root / "mine").mkdir()
    with pytest.raises(InvalidArgument, match=r"revision must be omitted for a model on disk .*not 'v1'"):
        opened(root, "mine", revision="v1")


def test_a_folder_without_a_model_lists_the_expected_files(root: Path) -> None:
    (root / "mine").mkdir()
    (root / "mine" / "notes.txt").write_text("nothing here")
    with pytest.raises(
        InvalidCheckpoint, match=r"mine is not a model.*config\.json.*lit_model\.pth.*GGUF.*move"
    ):
        opened(root, "mine")


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        ("model/config.json", r"Use .*mine/model\.$"),
        (
            "checkpoints/step-00000003.ckpt",
            r"no trained model yet; .*litgpt convert .*step-00000003\.ckpt FOLDER",
        ),
        ("metrics.csv", r"no trained model yet\.$"),
    ],
)
def test_the_folder_of_a_training_run_names_what_to_load(root: Path, file: str, advice: str) -> None:
    path = root / "mine" / file
    path.parent.mkdir(parents=True)
    path.touch()
    (root / "mine" / "recipe.yaml").touch()
    with pytest.raises(InvalidCheckpoint, match=f"mine is a training run. .*{advice}"):
        opened(root, "mine")


def test_a_folder_or_gguf_file_with_a_similar_name_is_suggested(root: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "adapter").mkdir(parents=True)
    (tmp_path / "run" / "model-q8.gguf").touch()
    (tmp_path / "run" / "training.log").touch()
    expected = {"adaptr": "adapter.", "model-q4.gguf": "model-q8.gguf.", "training.lg": "", "zzz": ""}
    for name, similar in expected.items():
        with pytest.raises(ModelNotFound) as caught:
            opened(root, str(tmp_path / "run" / name))
        suggestion = f"A path with a similar name is {tmp_path / 'run' / similar}"
        assert caught.value.hint == (suggestion if similar else "")


def test_a_folder_with_several_ggufs_lists_them(root: Path) -> None:
    write_gguf(root / "mine")
    shutil.copy(root / "mine" / "tiny-q8_0.gguf", root / "mine" / "other.gguf")
    with pytest.raises(InvalidCheckpoint, match=r"several GGUF files: other\.gguf, tiny-q8_0\.gguf"):
        opened(root, "mine")


def test_a_file_of_another_kind_is_refused_and_its_folder_named(root: Path) -> None:
    shutil.copytree(tiny_folder("llama"), root / "mine")
    with pytest.raises(InvalidCheckpoint, match=r"model\.safetensors is not a GGUF file.*mine"):
        opened(root, "mine/model.safetensors")


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        ("m 1.gguf.part00", "m 1.gguf.part01", "m 1.gguf.part'* > '{root}/m 1.gguf'"),
        ("m.part1of2", "m.part2of2", "m.part* > {root}/m.gguf"),
        ("m.gguf-split-a", "m.gguf-split-b", "m.gguf-split-* > {root}/m.gguf"),
    ],
)
def test_pieces_of_a_file_are_refused_with_the_command_that_joins_them(
    root: Path, first: str, second: str, joined: str
) -> None:
    whole = root / "whole.gguf"
    root.mkdir(exist_ok=True)
    write_tiny_gguf(whole)
    content = whole.read_bytes()
    for name, piece in ((first, content[:-100]), (second, content[-100:])):
        (root / name).write_bytes(piece)
        with pytest.raises(InvalidCheckpoint) as caught:
            LocalStore(root).open(ModelReference(str(root / name)))
        assert str(caught.value).endswith(joined.format(root=root))
        assert "Download" not in str(caught.value)


def test_a_gguf_file_is_recognized_by_its_magic_under_any_name(root: Path) -> None:
    write_tiny_gguf(root / "blob")
    assert opened(root, "blob").config["model_type"] == "llama"


def only(*files: str) -> Callable[[Path], None]:
    def keep(folder: Path) -> None:
        for file in folder.iterdir():
            if file.name not in files:
                file.unlink()

    return keep


def only_a_pickle(folder: Path) -> None:
    only("config.json")(folder)
    (folder / "pytorch_model.bin").write_bytes(b"\x80")


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (only("config.json"), MissingFile, "the folder has no weights"),
        (only("model.safetensors"), MissingFile, r"config\.json is missing"),
        (only_a_pickle, UnsafeFile, r"pytorch_model\.bin"),
    ],
    ids=["only a config", "only weights", "only a pickle"],
)
def test_an_incomplete_model_is_an_error_with_the_missing_files(
    root: Path, spoil: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    shutil.copytree(tiny_folder("llama"), root / "mine")
    spoil(root / "mine")
    with pytest.raises(error, match=message):
        opened(root, "mine")


def test_a_litgpt_folder_without_model_config_is_an_error(root: Path) -> None:
    write_litgpt(root / "mine")
    (root / "mine" / "model_config.yaml").unlink()
    with pytest.raises(MissingFile, match=r"model_config\.yaml"):
        opened(root, "mine")


def test_a_config_path_that_is_a_folder_is_an_error(root: Path) -> None:
    shutil.copytree(tiny_folder("llama"), root / "mine")
    (root / "mine" / "config.json").unlink()
    (root / "mine" / "config.json").mkdir()
    with pytest.raises((MissingFile, CorruptFile)):
        opened(root, "mine")


@pytest.mark.parametrize("name", ["words", "org/words"])
def test_a_tokenizer_is_found_by_its_folders_path_or_name(root: Path, tmp_path: Path, name: str) -> None:
    for parent in (root, tmp_path):
        folder = parent / name
        folder.mkdir(parents=True)
        (folder / "tokenizer.json").write_text("{}")
        (folder / "model.safetensors").write_text("of no interest")
        requested = name if parent == root else str(folder)
        files = LocalStore(root).tokenizer(ModelReference(requested))
        assert files == TokenizerFiles({"tokenizer.json": folder / "tokenizer.json"})


def test_no_tokenizer_is_found_where_there_is_no_folder(root: Path) -> None:
    with pytest.raises(ModelNotFound, match="Looked in: the path itself"):
        LocalStore(root).tokenizer(ModelReference("org/words"))
    (root / "words").write_text("a file")
    with pytest.raises(InvalidCheckpoint, match=r"pass its folder: .*checkpoints\."):
        LocalStore(root).tokenizer(ModelReference("words"))
