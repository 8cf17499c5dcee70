"""Tests of token weights: all target tokens of a step weigh the same, as in transformers' Trainer."""

import re
from itertools import cycle
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - as everybody calls it
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from litgpt import LLM
from litgpt.adapters.training.lightning_module import LitModel
from litgpt.data import JSON
from litgpt.domain.errors import InvalidArgument
from litgpt.training import TrainConfig
from tests.adapters.recording import trainer
from tests.adapters.tiny_models import tiny_folder
from tests.architecture.repository import ROOT
from tests.entrypoints.training_runs import VARIED_LENGTHS, losses, rows, trained, write_varied_lengths

pytestmark = pytest.mark.usefixtures("one_thread")


def steps(out: Path) -> list[float]:
    """Return the losses and gradient norms of all steps."""
    return [*losses(out), *losses(out, "gradient_norm"), *losses(out, "val_loss")]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_micro_batches_have_the_gradient_of_the_batch_that_they_make(
    tmp_path: Path,
    checkpointing: bool,  # noqa: FBT001
) -> None:
    # Ten training examples: the third step has two, for any micro-batch size.
    options = VARIED_LENGTHS | {"data": str(write_varied_lengths(tmp_path)), "epochs": 2, "max_norm": None}
    for batch, accumulate in ((4, 1), (2, 2), (1, 4)):
        out = str(tmp_path / f"{batch}")
        trained(
            tmp_path,
            batch_size=batch,
            accumulate=accumulate,
            gradient_checkpointing=checkpointing,
            out_dir=out,
            **options,
        )
    whole = steps(tmp_path / "4")
    assert len(losses(tmp_path / "4")) == 6
    assert steps(tmp_path / "2") == pytest.approx(whole, rel=1e-4)
    assert steps(tmp_path / "1") == pytest.approx(whole, rel=1e-4)


def test_gradients_are_clipped_after_token_weighting(tmp_path: Path) -> None:
    options = VARIED_LENGTHS | {
        "data": str(write_varied_lengths(tmp_path)),
        "max_steps": 5,
        "max_norm": 0.5,
        "learning_rate": 0.05,
    }
    for batch, accumulate in ((4, 1), (1, 4)):
        trained(
            tmp_path, batch_size=batch, accumulate=accumulate, out_dir=str(tmp_path / f"{batch}"), **options
        )
    assert losses(tmp_path / "4", "gradient_norm")[0] > 0.5
    assert steps(tmp_path / "1") == pytest.approx(steps(tmp_path / "4"), rel=1e-3)


def test_texts_are_weighed_by_token_too(tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("the llama eats grass, leaves and shrubs. " * 60, encoding="utf-8")
    options: dict[str, Any] = {"task": "pretrain", "data": str(texts), "max_seq_length": 64, "max_steps": 4}
    for batch, accumulate in ((4, 1), (2, 2)):
        trained(
            tmp_path, batch_size=batch, accumulate=accumulate, out_dir=str(tmp_path / f"{batch}"), **options
        )
    assert steps(tmp_path / "2") == pytest.approx(steps(tmp_path / "4"), rel=1e-4)


def test_a_micro_batch_without_targets_adds_no_gradient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = VARIED_LENGTHS | {"data": str(write_varied_lengths(tmp_path)), "batch_size": 2, "max_steps": 2}
    trained(tmp_path, accumulate=1, out_dir=str(tmp_path / "one"), **options)
    step, turn = LitModel.training_step, cycle((False, True))

    def masked(module: LitModel, batch: dict[str, Tensor]) -> Tensor:
        nothing = torch.full_like(batch["labels"], -100)
        return step(module, {**batch, "labels": nothing} if next(turn) else batch)

    monkeypatch.setattr(LitModel, "training_step", masked)
    trained(tmp_path, accumulate=2, out_dir=str(tmp_path / "two"), **options)
    assert steps(tmp_path / "two")[0] == pytest.approx(steps(tmp_path / "one")[0])
    assert losses(tmp_path / "two", "gradient_norm")[0] == pytest.approx(
        losses(tmp_path / "one", "gradient_norm")[0]
    )
    turn = cycle((True,))
    trained(tmp_path, accumulate=2, out_dir=str(tmp_path / "none"), **options)
    assert losses(tmp_path / "none", "gradient_norm") == [0.0, 0.0]


def test_a_sum_of_losses_is_the_mean_times_its_targets() -> None:
    llm = LLM.load(tiny_folder("llama"), distribute=None, quiet=True)
    llm.trainer_setup()
    ids = torch.arange(2, 30).view(2, 14)
    torch.testing.assert_close(llm.loss(ids, ids, reduction="sum"), llm.loss(ids, ids) * 26)
    assert llm.loss(ids, torch.full_like(ids, -100), reduction="sum") == 0
    with pytest.raises(InvalidArgument, match="reduction must be 'mean' or 'sum'"):
        llm.loss(ids, ids, reduction="none")  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_steps_are_those_of_transformers_trainer(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

    options: dict[str, Any] = VARIED_LENGTHS | {
        "data": str(write_varied_lengths(tmp_path)),
        "batch_size": 2,
        "accumulate": 3,
        "epochs": 3,
        "val_split": None,
        "max_norm": 1.0,
        "warmup_steps": 0,
    }
    fed: list[dict[str, Tensor]] = []
    step = LitModel.training_step

    def recording(module: LitModel, batch: dict[str, Tensor]) -> Tensor:
        fed.append(batch)
        return step(module, batch)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LitModel, "training_step", recording)
        trained(tmp_path, **options)

    class SameBatches(Trainer):
        def get_train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(fed, batch_size=None)  # type: ignore[arg-type] # a list is a data set

    logged: list[dict[str, float]] = []

    class Log(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            del args, state, control
            logged.append(logs)

    model = AutoModelForCausalLM.from_pretrained(tiny_folder("llama"), dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0)
    share = TrainConfig(model="m", data="d", out_dir="o", warmup_steps=0).lr_schedule(6)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda number: share(number))  # noqa: PLW0108
    settings: dict[str, Any] = {"disable_tqdm": True, "report_to": "none", "save_strategy": "no"}
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "transformers"),
        use_cpu=True,
        gradient_accumulation_steps=3,
        num_train_epochs=1,
        max_grad_norm=1.0,
        logging_steps=1,
        **settings,
    )
    hf_trainer = SameBatches(
        model=model,
        args=arguments,
        train_dataset=[0],
        optimizers=(optimizer, schedule),
        callbacks=[Log()],
    )
    hf_trainer.train()
    expected = [value for value in logged if "grad_norm" in value]
    assert len(expected) == len(losses(tmp_path / "out")) == 6
    result = rows(tmp_path / "out")
    for actual, hf in zip(result, expected, strict=True):
        assert float(actual["train_loss"]) == pytest.approx(hf["loss"], rel=1e-3)
        assert float(actual["gradient_norm"]) == pytest.approx(float(hf["grad_norm"]), rel=1e-4)


def documented(name: str) -> str:
    """Return a class from docs/training.md."""
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    match = re.search(rf"^class {name}\(.*?(?=^\S)", text, re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[0]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(("name", "is_exact"), [("LitLLM", False), ("TokenWeighted", True)])
def test_the_documented_module_weighs_micro_batches_and_the_other_one_tokens(
    tmp_path: Path,
    name: str,
    is_exact: bool,  # noqa: FBT001
) -> None:
    scope: dict[str, Any] = {"L": L, "LLM": LLM, "torch": torch}
    exec(documented("LitLLM") + documented("TokenWeighted"), scope)  # noqa: S102 - it is what readers run
    norms = []
    for batch_size, accumulate in ((2, 1), (1, 2)):
        module = scope[name](tiny_folder("llama"))
        data = JSON(write_varied_lengths(tmp_path), mask_prompt=True, prompt_style="phi-2")
        data.connect(module.llm.tokenizer, batch_size=batch_size, max_seq_length=120)
        trainer(tmp_path, max_steps=1, accumulate_grad_batches=accumulate).fit(module, data)
        norms.append(float(nn.utils.get_total_norm([parameter.grad for parameter in module.parameters()])))
    whole, parts = norms
    assert (parts == pytest.approx(whole, rel=1e-4)) is is_exact
