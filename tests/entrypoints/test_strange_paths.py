"""Tests of paths to other than regular files, for every path argument: refused by name, without blocking."""

import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from litgpt import LLM, Tokenizer
from litgpt.chat import read_chat
from litgpt.cli.main import run
from litgpt.data import JSON, TextFiles
from litgpt.domain.errors import InvalidArgument, LitGPTError, UnsupportedOperation
from litgpt.training import TrainConfig, train
from tests.adapters.tiny_models import tiny_folder

NAMES = {
    "long": "a" * 300,
    "very long": "x/" * 3000 + "y",
    "NUL": "a\0b",
    "surrogate": "a\ud800b",
    "nobody's home": "~no-such-user/a",
}
KINDS = (*NAMES, "FIFO", "socket", "directory", "loop", "below a file", "nothing")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(tiny_folder("llama"), tmp_path_factory.mktemp("models") / "llama"))


@pytest.fixture(scope="module")
def llm(folder: Path) -> LLM:
    llm = LLM.load(str(folder), quiet=True)
    llm.add_lora()
    return llm


@pytest.fixture
def path(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return a path of one kind, in its own folder; a test that blocks on it fails."""
    kind, suffix = request.param
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    at = tmp_path / f"strange{suffix}"
    with socket.socket(socket.AF_UNIX) as server:
        match kind:
            case "FIFO":
                os.mkfifo(at)
            case "socket":
                server.bind(f"strange{suffix}")
            case "directory":
                at.mkdir()
            case "loop":
                at.symlink_to(at)
            case "below a file":
                (tmp_path / "file").write_text("x")
                at = tmp_path / "file" / f"a{suffix}"
        before = signal.signal(signal.SIGALRM, _blocked)
        signal.alarm(300)
        try:
            yield NAMES[kind] + suffix if kind in NAMES else str(at)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)


def _blocked(*_: object) -> None:
    pytest.fail("it waited")


def each_kind(suffix: str = "") -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", [(kind, suffix) for kind in KINDS], indirect=True, ids=KINDS)


def errors_for(use: Callable[[Any], object], path: str) -> list[LitGPTError]:
    """Return the errors for a path as `str` and as `Path`."""
    results = []
    for value in (path, Path(path)):
        try:
            use(value)
        except LitGPTError as error:
            results.append(error)
    for message in map(str, results):
        message.encode()
        assert not set(message) & {"\n", "\0"}
        assert len(message) <= 1500
    return results


@each_kind()
def test_a_model_a_tokenizer_and_an_adapter(path: str, folder: Path, llm: LLM) -> None:
    for use in (
        lambda path: LLM.load(path, offline=True, quiet=True),
        lambda path: LLM.load(str(folder), init="random", tokenizer_dir=path, offline=True, quiet=True),
        Tokenizer,
        llm.load_adapter,
    ):
        assert len(errors_for(use, path)) == 2
    assert len(errors_for(lambda path: LLM.load(f"{path}.gguf", offline=True, quiet=True), path)) == 2


@each_kind()
def test_folders_that_are_written(path: str, llm: LLM) -> None:
    is_possible = path.endswith("strange") and (Path(path).is_dir() or not os.path.lexists(path))
    for use in (llm.save, llm.save_adapter):
        assert len(errors_for(use, path)) == (0 if is_possible else 2)
        if is_possible:
            shutil.rmtree(path)  # an adapter is not saved over a model


@each_kind(".json")
def test_a_chat_is_loaded_from_files_and_saved_to_files(path: str, llm: LLM) -> None:
    assert len(errors_for(read_chat, path)) == 2
    assert len(errors_for(lambda path: llm.chat(resume=path), path)) == 2
    is_possible = path.endswith("strange.json") and not Path(path).exists()  # a link to nothing is replaced
    is_there = path.endswith("strange.json") and Path(path).exists()
    kind = Path(path).stat().st_mode if is_there else 0
    with llm.chat() as chat:
        errors = errors_for(chat.save, path)
    assert len(errors) == (0 if is_possible else 2)
    assert all(isinstance(error, (UnsupportedOperation, InvalidArgument)) for error in errors)
    assert not is_there or Path(path).stat().st_mode == kind
    assert not is_possible or read_chat(path).messages == []


@each_kind(".json")
def test_data_and_a_training_checkpoint(path: str, llm: LLM, folder: Path) -> None:
    tokenizer = Tokenizer(folder)

    def data(kind: Any, **options: Any) -> Callable[[Any], object]:
        def use(path: Any) -> None:
            module = kind(path, **options)
            module.connect(tokenizer, batch_size=1, max_seq_length=16)
            module.setup()

        return use

    for use in (data(JSON), data(TextFiles), llm.trainer_setup):
        assert len(errors_for(use, path)) == 2


@each_kind()
def test_training(path: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text('[{"instruction": "a", "output": "b"}]')
    common: dict[str, Any] = {"model": str(folder), "epochs": 1}
    errors = errors_for(lambda path: train(TrainConfig(**common, data=str(path), out_dir="out")), path)
    assert len(errors) == 2
    if path in NAMES.values():
        errors = errors_for(lambda path: train(TrainConfig(**common, data="d.json", out_dir=str(path))), path)
        assert len(errors) == 2
    errors = errors_for(
        lambda path: train(TrainConfig(**common, data="d.json", out_dir="o"), resume=str(path)), path
    )
    assert len(errors) == 2


@each_kind()
def test_the_command_line(path: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if "\0" in path or "\ud800" in path:
        return  # the system passes no such argument to a process
    for arguments in (
        ("info", path),
        ("generate", path, "--prompt", "a"),
        ("generate", str(folder), "--prompt", "a", "--tools", path),
        ("generate", str(folder), "--messages", path),
        ("chat", str(folder), "--resume", path),
        ("finetune", "--config", path),
        ("convert", path, "--out-dir", "out"),
    ):
        assert run(arguments) in (1, 2), arguments
        assert "error:" in capsys.readouterr().err
