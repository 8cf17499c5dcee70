"""Tests of `litgpt.training.train` in this process, on tiny models: trained weights and output files."""

import signal
import traceback
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import torch
from torch import Tensor

from litgpt import LLM
from litgpt.adapters.training.config_file import read_settings
from litgpt.adapters.training.metrics import COLUMNS
from litgpt.domain.progress import Notice, Progress, null_reporter
from litgpt.domain.training.config import PRECISIONS
from litgpt.training import TrainConfig, TrainResult, config_from_settings, train
from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.small_runs import checkpoints, losses, rows, train_config, validated

IDS = torch.arange(24).view(2, 12) * 7 % 200

pytestmark = pytest.mark.usefixtures("one_thread")


@attrs.frozen
class Done:
    """A run and its events."""

    config: TrainConfig
    trained: TrainResult
    events: list[Notice | Progress]

    @property
    def out(self) -> Path:
        return Path(self.config.out_dir)

    @property
    def saved(self) -> Path:
        assert self.trained.saved is not None
        return self.trained.saved


def done(folder: Path, **settings: Any) -> Done:
    events: list[Notice | Progress] = []
    config = train_config(folder, **settings)
    return Done(config, train(config, report=events.append), events)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Done:
    return done(tmp_path_factory.mktemp("full"), epochs=2)


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Done:
    return done(tmp_path_factory.mktemp("lora"), method="lora", epochs=2, lora_targets="all-linear")


@pytest.fixture(scope="module")
def qlora(tmp_path_factory: pytest.TempPathFactory) -> Done:
    return done(tmp_path_factory.mktemp("qlora"), method="qlora", quantize="int8", epochs=2)


def logits(folder: Path) -> Tensor:
    llm = LLM.load(folder, distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true")
    with torch.no_grad():
        return cast("Tensor", llm(IDS))


def trained_logits(run: Done) -> Tensor:
    """Return the logits of the newest checkpoint, loaded over the initial weights."""
    from litgpt.adapters.training.checkpoint_reader import read_checkpoint, restore
    from litgpt.training_run.training_io import setup_for_training

    assert run.trained.checkpoint is not None
    llm = LLM.load(run.config.model, distribute=None, quiet=True)
    setup_for_training(
        llm,
        attrs.evolve(run.config, method="lora", quantize=None) if run.config.uses_lora else run.config,
        torch.float32,
    )
    assert llm.model is not None
    restore(llm.model, read_checkpoint(run.trained.checkpoint)["state_dict"], origin="it", name="it")
    with torch.no_grad():
        return cast("Tensor", llm(IDS))


def style(run: Done) -> str:
    actual = LLM.load(run.saved, distribute=None, quiet=True).prompt_style
    assert actual is not None
    return actual.name


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_the_loss_falls_and_every_step_has_a_row(method: str, request: pytest.FixtureRequest) -> None:
    run: Done = request.getfixturevalue(method)
    of_steps = [float(loss) for _, loss in losses(run.out)]
    assert sum(of_steps[-3:]) / 3 < sum(of_steps[:3]) / 3 - 0.1
    assert [step for step, _ in losses(run.out)] == [str(step) for step in range(1, 21)]
    assert run.trained.steps == 20
    assert run.trained.train_loss == pytest.approx(of_steps[-1])


def test_metrics_are_a_table_with_all_that_is_counted(full: Done) -> None:
    table = rows(full.out)
    assert tuple(table[0]) == COLUMNS
    steps = [row for row in table if row["train_loss"]]
    assert all(float(row["gradient_norm"]) > 0 and float(row["tokens_per_second"]) > 0 for row in steps)
    rates = [float(row["learning_rate"]) for row in steps]
    schedule = full.config.lr_schedule(20)
    assert rates == pytest.approx([1e-2 * schedule(step) for step in range(20)])
    assert [row["epoch"] for row in steps] == ["0"] * 10 + ["1"] * 10
    assert [step for step, _ in validated(full.out)] == ["10", "20"]
    assert full.trained.val_loss == pytest.approx(float(validated(full.out)[-1][1]))


def test_the_losses_are_drawn(full: Done) -> None:
    assert (full.out / "loss.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_the_saved_config_is_the_requested_one(full: Done, qlora: Done) -> None:
    for run in (full, qlora):
        assert config_from_settings(read_settings(run.out / "recipe.yaml")) == run.config


def test_progress_covers_all_steps_and_reports_the_output_folder(full: Done) -> None:
    reported = [
        event for event in full.events if isinstance(event, Progress) and event.description == "Training"
    ]
    assert [(event.completed, event.total) for event in reported] == [(step, 20) for step in range(21)]
    assert "loss" in reported[-1].note
    notices = [event.text for event in full.events if isinstance(event, Notice)]
    assert any(text.startswith(f"Saved to {full.out / 'model'}: ") for text in notices)


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_the_saved_model_has_the_trained_models_logits(method: str, request: pytest.FixtureRequest) -> None:
    run: Done = request.getfixturevalue(method)
    actual = logits(run.saved)
    torch.testing.assert_close(actual, trained_logits(run), rtol=1e-5, atol=1e-5)
    assert (actual - logits(tiny_folder("llama"))).abs().max() > 0.1


def test_transformers_opens_a_trained_model(full: Done) -> None:
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(full.saved, dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(logits(full.saved), reference(IDS).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # PEFT's, of transformers
def test_peft_opens_a_trained_adapter(lora: Done) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny_folder("llama"), dtype=torch.float32)
    reference = PeftModel.from_pretrained(base, str(lora.saved))
    with torch.no_grad():
        torch.testing.assert_close(logits(lora.saved), reference(IDS).logits, rtol=1e-4, atol=1e-4)


def test_a_lora_checkpoint_holds_only_trained_weights_and_their_moments(lora: Done, full: Done) -> None:
    assert lora.trained.checkpoint is not None
    assert full.trained.checkpoint is not None
    content = torch.load(lora.trained.checkpoint, weights_only=True)
    assert content["state_dict"]
    assert all(".lora." in name for name in content["state_dict"])
    numbers = sum(tensor.numel() for tensor in content["state_dict"].values())
    overhead = 100_000  # names, states of random numbers and the zip's padding
    assert lora.trained.checkpoint.stat().st_size < 3 * 4 * numbers + overhead
    assert (
        full.trained.checkpoint.stat().st_size
        > (tiny_folder("llama") / "model.safetensors").stat().st_size * 3
    )


def test_one_checkpoint_is_left_and_nothing_half_written(full: Done, lora: Done) -> None:
    assert checkpoints(full.out) == checkpoints(lora.out) == ["step-00000020.ckpt"]


def test_a_model_without_a_template_keeps_its_training_style(full: Done, lora: Done) -> None:
    for run in (full, lora):
        assert "litgpt.prompts.Alpaca" in (run.saved / "prompt_style.yaml").read_text(encoding="utf-8")
        assert style(run) == "alpaca"


def test_a_requested_style_is_trained_and_kept(tmp_path: Path) -> None:
    run = done(tmp_path, max_steps=1, prompt_style="chatml")
    assert style(run) == "chatml"


@pytest.mark.parametrize("precision", [precision for precision in PRECISIONS if precision != "16-mixed"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_every_precision_lowers_the_loss(tmp_path: Path, precision: str, method: str) -> None:
    run = done(tmp_path, max_steps=6, precision=precision, method=method, warmup_steps=0)
    of_steps = [float(loss) for _, loss in losses(run.out)]
    assert min(of_steps[3:]) < of_steps[0]


def test_activations_that_are_computed_again_change_nothing(tmp_path: Path, full: Done) -> None:
    run = done(tmp_path, max_steps=3, epochs=2, gradient_checkpointing=True)
    assert [float(loss) for _, loss in losses(run.out)[:1]] == pytest.approx(
        [float(loss) for _, loss in losses(full.out)[:1]], rel=1e-5
    )


def test_accumulated_batches_make_a_step(tmp_path: Path) -> None:
    run = done(tmp_path, accumulate=3, epochs=2)
    assert [step for step, _ in losses(run.out)] == [str(step) for step in range(1, 9)]
    assert run.trained.steps == 8


def test_validation_and_checkpoints_follow_their_intervals(tmp_path: Path) -> None:
    run = done(tmp_path, eval_every=2, save_every=3, max_steps=5, accumulate=2)
    assert [step for step, _ in validated(run.out)] == ["2", "4", "5"]  # and after the last step
    assert checkpoints(run.out) == ["step-00000005.ckpt"]


def test_a_model_is_pretrained_from_random_weights_on_texts(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(4):
        (texts / f"{number}.txt").write_text("the llama eats grass. " * 100, encoding="utf-8")
    run = done(tmp_path, task="pretrain", init="random", data=texts, max_seq_length=64, max_steps=12)
    of_steps = [float(loss) for _, loss in losses(run.out)]
    assert of_steps[0] == pytest.approx(5.66, abs=0.4)  # the logarithm of the vocabulary's size
    assert of_steps[-1] < of_steps[0] - 0.5
    assert style(run) != "alpaca"
    assert LLM.load(run.saved, quiet=True).generate("the", max_new_tokens=3)


def test_random_weights_may_have_another_models_tokenizer(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_bytes((tiny_folder("llama") / "config.json").read_bytes())
    run = done(tmp_path, init="random", model=bare, tokenizer_dir=tiny_folder("llama"), max_steps=1)
    assert (run.saved / "tokenizer.json").exists()


def test_the_same_seed_gives_the_same_run_and_another_does_not(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"method": "lora", "lora_dropout": 0.3, "max_steps": 2}
    results = []
    for number, seed in enumerate((1, 1, 2)):
        config = train_config(tmp_path, out_dir=tmp_path / str(number), seed=seed, **settings)
        train(config, report=null_reporter)
        results.append(losses(tmp_path / str(number)))
    assert results[0] == results[1] != results[2]


def test_a_signal_handler_sets_a_flag_and_the_loop_reports(tmp_path: Path) -> None:
    handled: list[bool] = []
    notes: list[str] = []

    def report(event: Notice | Progress) -> None:
        if isinstance(event, Notice):
            frames = {frame.name for frame in traceback.extract_stack()}
            handled.append("_hear" in frames)
            notes.append(event.text)
        elif event.description == "Training" and event.completed == 2:
            signal.raise_signal(signal.SIGTERM)
            assert not any("Ending" in value for value in notes)

    result = train(train_config(tmp_path, accumulate=2), report=report)
    assert result.saved is None
    assert notes[0].startswith("Training ")
    assert notes[1] == "Stopping after this step and saving a checkpoint."
    assert notes[-1] == f"Stopped at step {result.steps}; continue with resume='last'."
    assert not any(handled)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
