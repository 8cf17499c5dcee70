"""Tests of training all weights, LoRA and QLoRA: results, and no loss of trained weights."""

import resource
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from litgpt import LLM
from litgpt.domain.errors import InvalidArgument, LitGPTError
from litgpt.domain.overwrite_check import WouldOverwrite
from litgpt.domain.training.errors import DataNotFound, TrainerCheckpointMismatch
from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.training_runs import Reported, losses, rows, settings, trained

LORA = {"method": "lora", "lora_dropout": 0.3, "lora_targets": "all-linear"}

pytestmark = pytest.mark.usefixtures("one_thread")


def logits(llm: LLM) -> torch.Tensor:
    with torch.inference_mode():
        actual = llm(torch.arange(12).view(1, 12))
    assert isinstance(actual, torch.Tensor)
    return actual


def test_all_weights_learn_and_a_folder_is_left_that_loads(tmp_path: Path) -> None:
    reported = Reported()
    done = trained(tmp_path, epochs=2, reported=reported)
    out = tmp_path / "out"
    assert done.saved == out / "model"
    assert done.steps == 20
    assert done.train_loss is not None
    assert done.train_loss < losses(out)[0] / 2
    assert done.val_loss == pytest.approx(losses(out, "val_loss")[-1])
    assert {path.name for path in out.iterdir()} == {
        *("recipe.yaml", "metrics.csv", "loss.png", "checkpoints", "model")
    }
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert reported.steps[-1] == 20
    with LLM.load(done.saved, quiet=True) as llm:
        assert llm.generate("say 3", max_new_tokens=3, top_k=1)


@pytest.mark.parametrize("method", [{}, LORA], ids=["all weights", "LoRA"])
@pytest.mark.parametrize("at", [4, 13])
def test_an_aborted_run_resumes_exactly(tmp_path: Path, method: dict[str, Any], at: int) -> None:
    whole = trained(tmp_path, epochs=2, out_dir=str(tmp_path / "whole"), **method)
    with pytest.raises(InterruptedError):
        trained(tmp_path, epochs=2, reported=Reported(fail_at=at), **method)
    assert len(losses(tmp_path / "out")) == at
    done = trained(tmp_path, epochs=2, resume="last", **method)
    assert losses(tmp_path / "out") == losses(tmp_path / "whole")
    assert losses(tmp_path / "out", "val_loss") == losses(tmp_path / "whole", "val_loss")
    assert whole.saved is not None
    assert done.saved is not None
    with LLM.load(whole.saved, quiet=True) as first, LLM.load(done.saved, quiet=True) as second:
        assert torch.equal(logits(first), logits(second))


def test_activations_that_are_computed_again_change_nothing(tmp_path: Path) -> None:
    trained(tmp_path, max_steps=4, out_dir=str(tmp_path / "kept"))
    trained(tmp_path, max_steps=4, gradient_checkpointing=True, out_dir=str(tmp_path / "again"))
    assert losses(tmp_path / "again") == losses(tmp_path / "kept")


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_half_precision_training_is_nearly_the_same(tmp_path: Path, precision: str) -> None:
    trained(tmp_path, max_steps=6, out_dir=str(tmp_path / "full"))
    trained(tmp_path, max_steps=6, precision=precision, out_dir=str(tmp_path / "half"))
    assert losses(tmp_path / "half") == pytest.approx(losses(tmp_path / "full"), rel=0.05)


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_qlora_trains_an_adapter_on_quantized_weights(tmp_path: Path, quantize: str) -> None:
    done = trained(tmp_path, method="qlora", quantize=quantize, max_steps=8)
    actual = losses(tmp_path / "out")
    assert actual[-1] < actual[0]
    assert done.saved == tmp_path / "out" / "adapter"
    assert done.checkpoint is not None
    state = torch.load(done.checkpoint, weights_only=True)["state_dict"]
    assert state
    assert all("lora" in name for name in state)


def test_the_learning_rate_of_each_step_is_recorded(tmp_path: Path) -> None:
    trained(tmp_path, max_steps=6, warmup_steps=3, learning_rate=0.008, min_learning_rate=0.002)
    rates = [float(row["learning_rate"]) for row in rows(tmp_path / "out") if row["learning_rate"]]
    assert rates[:4] == pytest.approx([0.002, 0.004, 0.006, 0.008])
    assert 0.002 < rates[-1] < rates[-2] < 0.008


def test_a_run_is_repeated_by_its_own_recipe(tmp_path: Path) -> None:
    trained(tmp_path, max_steps=3)
    written = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())
    before = losses(tmp_path / "out")
    trained(tmp_path, **{**written, "out_dir": str(tmp_path / "again")})
    assert losses(tmp_path / "again") == before


def test_an_earlier_run_in_the_folder_is_not_written_over(tmp_path: Path) -> None:
    done = trained(tmp_path, max_steps=5)
    with pytest.raises(WouldOverwrite, match=r"out_dir.*resume"):
        trained(tmp_path, max_steps=2)
    assert done.checkpoint is not None
    assert done.checkpoint.exists()
    assert len(losses(tmp_path / "out")) == 5


def test_a_checkpoint_of_another_method_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    done = trained(tmp_path, max_steps=2, method="lora")
    assert done.checkpoint is not None
    with pytest.raises(TrainerCheckpointMismatch, match=r"missing: .*lm_head.*unexpected: .*lora"):
        trained(tmp_path, max_steps=4, resume=str(done.checkpoint), out_dir=str(tmp_path / "other"))


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    done = trained(tmp_path, max_steps=2)
    assert done.checkpoint is not None
    second = str(tiny_folder("qwen2"))
    with pytest.raises(TrainerCheckpointMismatch, match=r"missing: .*bias"):
        trained(tmp_path, model=second, max_steps=4, resume=str(done.checkpoint), out_dir=str(tmp_path / "b"))


def test_a_disk_that_fills_up_costs_a_checkpoint_and_not_the_run(tmp_path: Path) -> None:
    reported = Reported()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def full_for_a_while(event: Any) -> None:
        reported(event)
        if reported.steps and reported.steps[-1] in (3, 6):
            bound = 100_000 if reported.steps[-1] == 3 else before[0]
            resource.setrlimit(resource.RLIMIT_FSIZE, (bound, before[1]))

    try:
        done = trained(tmp_path, max_steps=8, save_every=2, reported=full_for_a_while)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    lost = [notice for notice in reported.notices if "was not saved" in notice]
    assert [value.split()[4] for value in lost] == ["4"]
    assert "step-00000002.ckpt." in lost[0]
    assert done.steps == 8
    assert [path.name for path in (tmp_path / "out" / "checkpoints").iterdir()] == ["step-00000008.ckpt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_seq_length": 10_000}, "the model's context"),
        ({"data": "nowhere.json"}, "was not found"),
        ({"prompt_style": "lama3"}, "prompt style"),
        ({"accelerator": "tpu"}, "accelerator"),
        ({"precision": "16-mixed"}, "16-mixed"),
    ],
)
def test_invalid_settings_are_refused_before_work_is_done(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(LitGPTError, match=message):
        trained(tmp_path, **options)
    assert not (tmp_path / "out" / "metrics.csv").exists()


def test_there_is_nothing_to_resume_in_a_new_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="resume"):
        trained(tmp_path, resume="last")


def test_missing_data_creates_no_output_folder(tmp_path: Path) -> None:
    with pytest.raises(DataNotFound):
        trained(tmp_path, data=str(tmp_path / "no.json"))
    assert not (tmp_path / "out").exists()
    assert settings(tmp_path)["out_dir"] == str(tmp_path / "out")


@pytest.mark.parametrize("call", [7, 8, 30, 38, 41])
def test_an_exception_within_a_step_loses_no_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    options: dict[str, Any] = {"epochs": 2, "batch_size": 1, "accumulate": 3, **LORA}
    trained(tmp_path, out_dir=str(tmp_path / "whole"), **options)
    calls = count()
    loss = LLM.loss

    def failing(llm: LLM, *rest: Any, **options: Any) -> torch.Tensor:
        if next(calls) == call:
            raise InterruptedError
        return loss(llm, *rest, **options)

    with monkeypatch.context() as patched:
        patched.setattr(LLM, "loss", failing)
        with pytest.raises(InterruptedError):
            trained(tmp_path, **options)
    trained(tmp_path, resume="last", **options)
    assert losses(tmp_path / "out") == losses(tmp_path / "whole")


def test_tensorboard_gets_the_values_of_the_table(tmp_path: Path) -> None:
    trained(tmp_path, max_steps=3, tensorboard=True)
    read = EventAccumulator(str(tmp_path / "out" / "tensorboard"))
    read.Reload()
    reported = [event.value for event in read.Scalars("train_loss")]
    assert reported == pytest.approx(losses(tmp_path / "out"))
    assert [event.step for event in read.Scalars("train_loss")] == [1, 2, 3]
