"""Tests of `litgpt finetune` and `litgpt pretrain` in this process: options, config files, exit status."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from dependency_injector import providers

from litgpt.adapters.checkpoints.chain_store import ChainStore
from litgpt.adapters.checkpoints.installed_store import InstalledStore
from litgpt.adapters.checkpoints.local_store import LocalStore
from litgpt.adapters.checkpoints.peft.lora_store import LoraStore
from litgpt.cli.main import run
from litgpt.container import container
from litgpt.domain.training.errors import InvalidData
from litgpt.training import TrainConfig, train
from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.training_runs import losses, write_records

SMALL = ("--accelerator", "cpu", "--max-seq-length", "32", "--batch-size", "2", "--precision", "32-true")


@pytest.fixture(autouse=True, scope="module")
def local_models_only() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    local = LoraStore(ChainStore((LocalStore(), InstalledStore())))
    with container.store.override(providers.Object(local)):
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def folder() -> str:
    return str(tiny_folder("llama"))


def run_cli(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    capsys.readouterr()
    status = run([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return status, output.out, output.err


def test_stdout_is_only_the_output_folder(
    capsys: pytest.CaptureFixture[str], folder: str, tmp_path: Path
) -> None:
    data, out = write_records(tmp_path), tmp_path / "out"
    status, answer, notes = run_cli(
        capsys, "finetune", folder, "--data", data, "--out-dir", out, "--max-steps", "3", *SMALL
    )
    assert status == 0, notes
    assert answer == f"{out / 'adapter'}\n"
    assert ", 3 steps, " in notes
    assert len(losses(out)) == 3
    status, answer, _ = run_cli(capsys, "generate", out / "adapter", "--prompt", "say 3", "--top-k", "1")
    assert status == 0
    assert answer


def test_options_come_before_a_file_of_settings(
    capsys: pytest.CaptureFixture[str], folder: str, tmp_path: Path
) -> None:
    config, out = tmp_path / "settings.yaml", tmp_path / "out"
    config.write_text(
        f"model: {folder}\ndata: {write_records(tmp_path)}\nmax-steps: 9\nlearning_rate: 1e-3\nmethod: full\n"
    )
    status, _, notes = run_cli(
        capsys, "finetune", "--config", config, "--out_dir", out, "--max_steps", "2", "--quiet", *SMALL
    )
    assert (status, notes) == (0, "")
    written = yaml.safe_load((out / "recipe.yaml").read_text())
    assert written["max_steps"] == 2
    assert written["learning_rate"] == 1e-3
    assert (out / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("batchsize: 2", "Did you mean 'batch_size'?"),
        ("batch_size: many", "--batch-size must be a positive integer"),
        ("- batch_size", "damaged"),
        ("a: [", "damaged"),
    ],
)
def test_a_file_of_settings_that_cannot_be_right_is_one_line(
    capsys: pytest.CaptureFixture[str], folder: str, tmp_path: Path, line: str, message: str
) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(f"{line}\n")
    status, answer, notes = run_cli(capsys, "finetune", folder, "--data", "x", "--config", config)
    assert (status, answer) == (1, "")
    assert message in notes
    assert notes.count("\n") == 1


PATHS = [
    ("missing.jsonl", "new", "The data set 'missing.jsonl' was not found."),
    ("empty", "new", "empty"),
    ("notes.md", "file", "--out-dir must be a folder, not "),
    ("notes.md", "used", "used already contains a run (step 3). Use another --out-dir, continue with "),
]


def test_paths_and_the_model_are_checked_before_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.md").write_text("# notes")
    (tmp_path / "file").write_text("")
    (tmp_path / "used" / "checkpoints").mkdir(parents=True)
    (tmp_path / "used" / "checkpoints" / "step-00000003.ckpt").write_text("")
    (tmp_path / "data.jsonl").write_text("{}")
    calls = [
        [command, "smollm2", "--data", data, "--out-dir", out]
        for command in ("finetune", "pretrain")
        for data, out, _ in PATHS
    ]
    calls += [
        ["finetune", "smollm2", "--data", "data.jsonl", "--resume", "last"],
        ["finetune", "smollm2", "--data", "data.jsonl", "--resume", "lost.ckpt"],
        ["finetune", "smolm2", "--data", "data.jsonl", "--quiet"],
    ]
    program = (
        "import sys\nfrom litgpt.cli.main import run\n"
        f"assert [run(call) for call in {calls}] == [1] * {len(calls)}\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()  # one error each, before any preparation
    assert len(lines) == len(calls)
    expected_errors = [expected for _, _, expected in (*PATHS, *PATHS)]
    expected_errors += ["checkpoints has none", "the path of an existing checkpoint", "Did you mean smollm2"]
    for line, expected in zip(lines, expected_errors, strict=True):
        assert line.startswith("error: ")
        assert expected in line


def test_a_file_with_another_suffix_is_refused_by_train_before_the_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# notes")
    config = TrainConfig(model="no-such-model", data=f"{tmp_path}/notes.md", out_dir=f"{tmp_path}/out")
    with pytest.raises(InvalidData, match=r"notes\.md .* does not end in \.json, \.jsonl, \.parquet"):
        train(config)


def test_missing_data_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, notes = run_cli(capsys, "finetune", "smollm2")
    assert status == 2
    assert notes.startswith("Usage: litgpt finetune")
    assert "error: Missing --data: pass a file or folder of training examples, or `alpaca`" in notes


def test_deprecated_names_are_the_methods(
    capsys: pytest.CaptureFixture[str], folder: str, tmp_path: Path
) -> None:
    data = write_records(tmp_path)
    for name, left in (("finetune_lora", "adapter"), ("finetune_full", "model")):
        out = tmp_path / name
        status, answer, notes = run_cli(
            capsys, name, folder, "--data", data, "--out_dir", out, "--max_steps", "1", *SMALL
        )
        assert status == 0, notes
        assert answer == f"{out / left}\n"
    status, _, notes = run_cli(capsys, "finetune_adapter", folder)
    assert status == 2
    assert "LoRA instead" in notes


def test_texts_are_trained_on_from_random_weights(
    capsys: pytest.CaptureFixture[str], folder: str, tmp_path: Path
) -> None:
    texts, out = tmp_path / "texts", tmp_path / "out"
    texts.mkdir()
    for number in range(4):
        (texts / f"{number}.txt").write_text(f"what is said {number} times is true. " * 40)
    status, answer, notes = run_cli(
        capsys, "pretrain", folder, "--data", texts, "--out-dir", out, "--max-steps", "6", *SMALL
    )
    assert status == 0, notes
    assert answer == f"{out / 'model'}\n"
    actual = losses(out)
    assert actual[0] > actual[-1]
    assert actual[0] == pytest.approx(5.66, abs=0.6)  # the logarithm of the vocabulary: nothing is known yet
