"""Tests of `litgpt finetune` and `litgpt pretrain` in this process: settings, output, exit status."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import yaml

from litgpt import LLM
from litgpt.adapters.training.config_file import read_settings
from litgpt.cli.deprecated import translate_alias
from litgpt.cli.main import run
from litgpt.cli.training import _EXCLUDED_OPTIONS
from litgpt.domain.training.config import CONFIG_FIELDS
from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.small_runs import examples, losses

QUICK = ("--accelerator", "cpu", "--precision", "32-true", "--max_seq_length", "100", "--batch-size", "2")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def folder() -> str:
    return str(tiny_folder("llama"))


def run_cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = run(arguments)
    output = capsys.readouterr()
    return status, output.out, output.err


def taught(tmp_path: Path, *, out: str = "out") -> Sequence[str]:
    return ("--data", str(examples(tmp_path / "x.jsonl", 12)), "--out-dir", str(tmp_path / out), *QUICK)


def test_an_adapter_is_trained_and_stdout_is_only_its_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: str
) -> None:
    status, reported, notes = run_cli(capsys, "finetune", folder, *taught(tmp_path), "--max-steps", "2")
    assert (status, reported) == (0, f"{tmp_path / 'out' / 'adapter'}\n")
    assert f"Saved to {tmp_path / 'out' / 'adapter'}: " in notes
    assert notes.splitlines()[-1].endswith(f"litgpt chat {tmp_path / 'out' / 'adapter'}")
    assert LLM.load(reported.strip(), quiet=True).generate("hi", max_new_tokens=2)
    settings = read_settings(tmp_path / "out" / "recipe.yaml")
    assert (settings["method"], settings["max_steps"], settings["batch_size"]) == ("lora", 2, 2)
    quiet = (*taught(tmp_path, out="quiet"), "--max-steps", "1", "--quiet")
    assert run_cli(capsys, "finetune", folder, *quiet) == (0, f"{tmp_path / 'quiet' / 'adapter'}\n", "")


def test_a_file_of_settings_is_read_and_options_come_before_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: str
) -> None:
    config = tmp_path / "recipe.yaml"
    settings: dict[str, Any] = {
        "model": folder,
        "data": str(examples(tmp_path / "x.jsonl", 12)),
        "out_dir": str(tmp_path / "out"),
        "accelerator": "cpu",
        "max_steps": 1,
        "batch-size": 2,
        "lora_rank": 2,
    }
    config.write_text(yaml.safe_dump(settings) + "learning_rate: 2e-3\n", encoding="utf-8")
    chosen = ("--config", str(config), "--max-steps", "3", "--lora-targets", "q_proj, o_proj", "--quiet")
    assert run_cli(capsys, "finetune", *chosen)[0] == 0
    assert len(losses(tmp_path / "out")) == 3
    left = read_settings(tmp_path / "out" / "recipe.yaml")
    assert (left["learning_rate"], left["lora_rank"], left["lora_targets"]) == (2e-3, 2, ["q_proj", "o_proj"])
    second = ("--config", str(tmp_path / "out" / "recipe.yaml"), "--out-dir", str(tmp_path / "again"))
    assert run_cli(capsys, "finetune", *second, "--quiet")[0] == 0
    assert losses(tmp_path / "again") == losses(tmp_path / "out")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("batch_sise: 4", "recipe.yaml. Did you mean 'batch_size'?"),
        ("epochs: four", "--epochs must be a positive integer or omitted, not str 'four'"),
        ("- batch_size", "a recipe consists of settings"),
        ("a: [", "ParserError"),
        (None, "the recipe does not exist"),
    ],
)
def test_a_file_of_settings_that_is_wrong_is_one_line_on_stderr(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: str, written: str | None, message: str
) -> None:
    config = tmp_path / "recipe.yaml"
    if written is not None:
        config.write_text(written, encoding="utf-8")
    status, reported, error = run_cli(capsys, "finetune", folder, *taught(tmp_path), "--config", str(config))
    assert (status, reported) == (1, "")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_invalid_record_is_named_with_its_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: str
) -> None:
    data = examples(tmp_path / "bad.jsonl", 3)
    data.write_text(data.read_text(encoding="utf-8") + "\n" + json.dumps({"question": "?"}), encoding="utf-8")
    arguments = ("--data", str(data), "--out-dir", str(tmp_path / "out"), *QUICK)
    status, _, error = run_cli(capsys, "finetune", folder, *arguments)
    assert status == 1
    assert "bad.jsonl" in error
    assert "line 4" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "none.jsonl"), "The data set 'none.jsonl' was not found"),
        (("--max-seq-length", "300"), "--max-seq-length must be at most 256, the model's context, not 300"),
        (("--devices", "2"), "error: --strategy must be ddp or fsdp with --devices 2, not 'auto'."),
        (("--lora-targets", "nonsense"), "nonsense"),
        (("--prompt-style", "nonsense"), "nonsense"),
        (("--resume", "last"), "--resume must be the path of a checkpoint, because"),
        (
            ("--accelerator", "tpu"),
            "error: --accelerator must be one of cpu, gpu, cuda, mps, auto, not 'tpu'.",
        ),
        (("--accelerator", "mps"), "error: --accelerator mps, --devices 1 is not possible: "),
        (
            ("--method", "full", "--quantize", "int8"),
            "error: --quantize must be omitted with --method full (",
        ),
    ],
)
def test_invalid_arguments_are_one_line_on_stderr_before_training(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: str, arguments: Sequence[str], message: str
) -> None:
    status, reported, error = run_cli(capsys, "finetune", folder, *taught(tmp_path), *arguments)
    assert (status, reported) == (1, "")
    assert message in error
    assert error.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "out" / "metrics.csv").exists()


def test_missing_data_and_model_are_usage_errors(capsys: pytest.CaptureFixture[str], folder: str) -> None:
    status, _, error = run_cli(capsys, "finetune", folder)
    assert status == 2
    remedy = "pass a file or folder of training examples, or `alpaca` / `alpaca_2k`."
    assert f"error: Missing --data: {remedy}\n" in error
    status, _, error = run_cli(capsys, "pretrain", "--data", "x.txt")
    assert status == 2
    assert "error: Missing MODEL: pass a folder, a GGUF file, " in error


@pytest.mark.parametrize("task", ["finetune", "pretrain"])
def test_help_lists_every_setting(
    capsys: pytest.CaptureFixture[str], task: Literal["finetune", "pretrain"]
) -> None:
    status, reported, _ = run_cli(capsys, task, "--help")
    assert status == 0
    expected = set(CONFIG_FIELDS) - {"model", *_EXCLUDED_OPTIONS[task]} | {"config", "resume", "quiet"}
    lacking = [name for name in expected if f"--{name.replace('_', '-')} " not in reported]
    assert not lacking
    assert "MODEL" in reported


def test_help_describes_the_settings_of_its_own_task(capsys: pytest.CaptureFixture[str]) -> None:
    pretrain, finetune = (
        " ".join(run_cli(capsys, task, "--help")[1].split()) for task in ("pretrain", "finetune")
    )
    assert not [word for word in ("LoRA", "prompt style", "examples;", "adapter") if word in pretrain]
    for text in (pretrain, finetune):
        assert "[required, unless --config has it]" in text.partition("--data")[2].partition("--out-dir")[0]


def test_options_of_the_other_task_are_not_taken(capsys: pytest.CaptureFixture[str], folder: str) -> None:
    assert run_cli(capsys, "pretrain", folder, "--method", "lora")[0] == 2
    assert run_cli(capsys, "finetune", folder, "--init", "random")[0] == 2


def test_pretraining_starts_from_random_weights_by_default(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: str
) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("the llama eats grass. " * 60, encoding="utf-8")
    common = ("--data", str(tmp_path / "texts"), *QUICK, "--max-steps", "1", "--quiet")
    status, reported, _ = run_cli(capsys, "pretrain", folder, *common, "--out-dir", str(tmp_path / "new"))
    assert (status, reported) == (0, f"{tmp_path / 'new' / 'model'}\n")
    further = (*common, "--init", "pretrained", "--out-dir", str(tmp_path / "further"))
    assert run_cli(capsys, "pretrain", folder, *further)[0] == 0
    (_, new), *_ = losses(tmp_path / "new")
    (_, old), *_ = losses(tmp_path / "further")
    assert new != old


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ("finetune_lora m --data d", "finetune --method lora m --data d"),
        ("finetune_full m", "finetune --method full m"),
        ("finetune-full m", "finetune --method full m"),
        ("generate_full m --prompt x", "generate m --prompt x"),
        ("generate_tp m", "generate --generate-strategy tensor_parallel m"),
        ("generate_sequentially m", "generate --generate-strategy sequential m"),
        ("generate finetune_lora", "generate finetune_lora"),
        ("--version", "--version"),
        ("", ""),
    ],
)
def test_litgpts_names_of_commands_are_understood(former: str, now: str) -> None:
    assert translate_alias(former.split()) == now.split()


def test_a_former_name_trains(capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: str) -> None:
    arguments = (folder, *taught(tmp_path), "--max_steps", "1", "--quiet")
    assert run_cli(capsys, "finetune_full", *arguments) == (0, f"{tmp_path / 'out' / 'model'}\n", "")


def test_a_models_answer_over_two_devices_is_the_same(
    capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    usual = (folder, "--prompt", "hi", "--top-k", "1", "--max-new-tokens", "4", "--quiet")
    spread = ("--accelerator", "cpu", "--devices", "2")
    _, answer, _ = run_cli(capsys, "generate", *usual)
    assert run_cli(capsys, "generate_sequentially", *usual, *spread) == (0, answer, "")


def test_a_checkpoint_becomes_the_model_that_was_saved(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: str
) -> None:
    run_cli(capsys, "finetune_full", folder, *taught(tmp_path), "--max-steps", "1", "--quiet")
    (checkpoint,) = (tmp_path / "out" / "checkpoints").iterdir()
    model_folder = tmp_path / "made"
    assert run_cli(capsys, "convert", str(checkpoint), str(model_folder), "--quiet") == (
        0,
        f"{model_folder}\n",
        "",
    )
    weights = "model.safetensors"
    assert (model_folder / weights).read_bytes() == (tmp_path / "out" / "model" / weights).read_bytes()
    strange = tmp_path / "strange.ckpt"
    torch.save({"state_dict": {}}, strange)
    status, _, error = run_cli(capsys, "convert", str(strange), str(tmp_path / "none"))
    assert status == 1
    assert "which names its model" in error
