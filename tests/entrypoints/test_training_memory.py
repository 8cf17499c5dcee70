"""Tests of training beyond the memory: refused before the allocation."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from litgpt import LLM
from litgpt.cli.main import run
from litgpt.container import container
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.formatting.units import format_bytes
from litgpt.domain.memory.training_estimate import TRAINING_PROGRAM
from litgpt.domain.progress import Notice
from litgpt.training import TrainConfig, train
from litgpt.training_run.memory_check import TrainingMemory
from litgpt.training_run.training_io import RunLLM
from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.test_memory_bounds import FIGURES, bounded

RECORD = {"instruction": "a", "output": "b" * 100}

pytestmark = pytest.mark.usefixtures("one_thread")


def train_config(folder: Path, **changes: Any) -> TrainConfig:
    data = folder / "data.jsonl"
    data.write_text((json.dumps(RECORD) + "\n") * 6)
    settings = {"model": str(tiny_folder("llama")), "data": str(data), "out_dir": str(folder / "out")}
    return TrainConfig(**(settings | {"max_steps": 1, "val_split": None, "accelerator": "cpu"} | changes))


def memory_of(config: TrainConfig, longest: int) -> int:
    """Return the estimated memory of a run without the process itself, as in its first line."""
    with RunLLM.open(config) as llm:
        memory = TrainingMemory(loaded=llm.loaded, config=config, precision="32-true", dtype="float32")
        return memory.needs(longest).total - TRAINING_PROGRAM


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that sets the memory of the machine."""

    def has(nbytes: int) -> None:
        for module in ("hardware", "gradient_memory"):
            name = f"litgpt.adapters.pytorch.runtime.{module}.allocatable_memory"
            monkeypatch.setattr(name, lambda: nbytes)

    return has


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"method": "full"}, "Use method='lora' or 'qlora'"),
        ({"method": "full", "init": "random"}, "Use a smaller model"),
        ({"method": "lora"}, "Use method='qlora', a smaller lora_rank"),
    ],
    ids=str,
)
def test_gradients_and_moments_are_counted_before_anything_is_allocated(
    tmp_path: Path, machine: Any, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], remedy: str
) -> None:
    config = train_config(tmp_path, **options)
    machine(100_000)
    monkeypatch.setattr(type(container.strategy()), "build", None)
    with pytest.raises(UnsupportedOperation, match=FIGURES) as caught:
        train(config)
    message = str(caught.value)
    assert "with batch_size=4" in message
    assert "gradients and optimizer states" in message
    assert remedy in message
    assert len(message) < 500
    assert not (tmp_path / "out").exists()


def test_the_checked_memory_is_the_reported_one(tmp_path: Path, machine: Any) -> None:
    events: list[Any] = []
    full = train_config(tmp_path, method="full", precision="32-true")
    train(full, report=events.append)
    (line,) = (value.text for value in events if isinstance(value, Notice) and "of memory" in value.text)
    longest = int(re.search(r"with ([\d,]+) tokens", line)[1].replace(",", "")) // 6  # type: ignore[index]
    needed = memory_of(full, longest)
    assert f"about {format_bytes(needed + TRAINING_PROGRAM)} of memory" in line
    machine(needed - 1)
    with pytest.raises(UnsupportedOperation, match=FIGURES):
        train(full, overwrite=True)
    machine(needed)
    train(full, overwrite=True)
    lora = train_config(tmp_path, method="lora", out_dir=str(tmp_path / "lora"), precision="32-true")
    assert memory_of(lora, longest) < needed
    machine(memory_of(lora, longest))  # and the mapped weights do not count
    train(lora)


def test_training_all_weights_does_not_fit_where_an_adapter_does(tmp_path: Path, machine: Any) -> None:
    small = {"max_seq_length": 8, "batch_size": 1, "precision": "32-true"}
    full, lora = (train_config(tmp_path, method=name, **small) for name in ("full", "lora"))
    machine((memory_of(full, 8) + memory_of(lora, 8)) // 2)
    with pytest.raises(UnsupportedOperation, match="Use method='lora'"):
        train(full)
    assert train(lora).steps == 1


def test_each_process_on_a_cpu_needs_its_memory(tmp_path: Path, machine: Any) -> None:
    config = train_config(
        tmp_path, method="full", precision="32-true", devices=2, strategy="ddp", max_seq_length=8
    )
    machine(2 * memory_of(config, 8) - 1)
    with pytest.raises(UnsupportedOperation, match="on each device"):
        train(config)


@pytest.mark.parametrize("task", ["finetune", "pretrain"])
def test_a_batch_of_a_billion_is_refused_in_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    config = train_config(tmp_path)
    (tmp_path / "data.jsonl").write_text(json.dumps({"text": "a" * 400}) + "\n" if task == "pretrain" else "")
    arguments = [config.model, "--data", config.data, "--out-dir", config.out_dir, "--max-steps", "1"]
    for size_of_batch in ("1000000000", "9" * 30):
        with bounded():
            assert run([task, *arguments, "--batch-size", size_of_batch]) == 1
        output = capsys.readouterr().err.strip().splitlines()[-1]
        assert re.search(FIGURES, output)
        assert len(output) < 600


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "mixtral", "gpt2", "deepseek_v3"])
@pytest.mark.parametrize("targets", [None, "all-linear"])
def test_the_parameters_of_an_adapter_are_counted_before_there_is_one(
    tmp_path: Path, family: str, targets: Any
) -> None:
    config = train_config(tmp_path, model=str(tiny_folder(family)), lora_rank=4, lora_targets=targets)
    with RunLLM.open(config) as llm:
        memory = TrainingMemory(loaded=llm.loaded, config=config, precision="32-true", dtype="float32")
        llm.trainer_setup()
        llm.add_lora(4, targets=targets)
        assert memory.trained == sum(
            parameter.numel() for parameter in llm.parameters() if parameter.requires_grad
        )


def test_gradients_that_no_memory_holds_are_refused_in_a_loop_of_the_callers_own(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("litgpt.adapters.pytorch.runtime.gradient_memory._SMALL", 0)
    ids = torch.ones(1, 8, dtype=torch.long)
    with LLM.load(str(tiny_folder("llama")), distribute=None, quiet=True) as llm:
        llm.trainer_setup()
        needed = sum(parameter.nbytes for parameter in llm.parameters())
        machine(needed - 1)
        for learn in (lambda: llm.loss(ids, ids), lambda: llm(ids, ids)):
            with pytest.raises(UnsupportedOperation, match=FIGURES):
                learn()
        with torch.no_grad():
            expected = llm.loss(ids, ids)
        assert llm(ids).shape == (1, 8, llm.config.vocab_size)
        llm.add_lora(2)
        assert llm.loss(ids, ids) == expected
        for parameter in llm.parameters():
            parameter.requires_grad = True
        machine(sum(parameter.nbytes for parameter in llm.parameters()))
        llm.loss(ids, ids).backward()
        machine(0)  # they are there now
        llm.loss(ids, ids).backward()
