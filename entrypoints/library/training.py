"""`litgpt.training`: train a model by a recipe, as `litgpt finetune` and `litgpt pretrain` do.

from litgpt.training import Recipe, train

done = train(Recipe(model="smollm2", data="my.jsonl", out_dir="out"))  # LoRA, unless method="full"
llm = LLM.load(done.saved)
"""

import time
from pathlib import Path
from typing import Any

import attrs
import torch

from litgpt.adapters.pytorch.allocating import allocating
from litgpt.adapters.pytorch.load_balancing import RouterLogits
from litgpt.adapters.training.checkpoints import Checkpoints
from litgpt.adapters.training.curve import draw_losses
from litgpt.adapters.training.learning import Learning
from litgpt.adapters.training.metrics import Metrics
from litgpt.adapters.training.random_state import begin
from litgpt.adapters.training.recipe_file import write_recipe
from litgpt.adapters.training.running import quietly, run, trainer_of
from litgpt.container import container
from litgpt.data.module import DataModule
from litgpt.domain.architecture import mixture_of
from litgpt.domain.calls import public
from litgpt.domain.errors import BadArgument, LitGPTError, NotInstalled, WrongType
from litgpt.domain.messages import brief_repr
from litgpt.domain.reporting import Notice, Report, silent
from litgpt.domain.training.load_balancing import router_loss_coefficient
from litgpt.domain.training.recipe import Recipe, recipe_of
from litgpt.domain.validators import local_path
from litgpt.llm import LLM
from litgpt.processes import is_first_process
from litgpt.reporting import default_report
from litgpt.run_folder import CHECKPOINTS, RECIPE, checkpoint_to_begin_from, remove_checkpoints
from litgpt.run_summary import Start, end_table, method_of
from litgpt.trained import check_output, output_of, prepare, save_trained, style_to_learn
from litgpt.training_memory import TrainingMemory, dtype_name

_USUAL_LENGTH = 2048


@attrs.frozen(kw_only=True)
class Trained:
    """What came of a run.

    Attributes:
        saved: The folder of the model, or of the adapter; None if the run was ended before its end.
        checkpoint: The newest checkpoint, from which it can go on.
        steps: How many optimiser steps there were, earlier runs' included.
        train_loss: What the last of them lost.
        val_loss: What was lost on the data for validation, the last time.
        seconds: How long it took.

    """

    saved: Path | None
    checkpoint: Path | None
    steps: int
    train_loss: float | None
    val_loss: float | None
    seconds: float

    __repr__ = brief_repr


@public()
def train(
    recipe: Recipe,
    *,
    resume: str | None = None,
    overwrite: bool = False,
    report: Report | None = None,
) -> Trained:
    """Train a model.

    In `out_dir` there will be `recipe.yaml`, `metrics.csv`, `loss.png`, the newest of the `checkpoints/`, and
    `model/` (a folder that transformers opens too) or `adapter/` (PEFT's format).

    Args:
        recipe: All that is wanted.
        resume: `last`, or the path of a checkpoint, from which to go on exactly.
        overwrite: Whether a new run may replace an earlier one, or another model, in `out_dir`.
        report: Is told what happens; None is as `LLM.load` does.

    Raises:
        WouldOverwrite: `out_dir` holds another model, and `overwrite` is not set.
        BadArgument: A setting cannot be right.
        BadData: There is nothing to learn from.
        NotOfThisModel: The checkpoint is of another model, or of another method.
        OutOfReach: The hardware, the memory for weights, gradients, optimizer states and activations, or the
            room on the disk is not there.

    """
    if not isinstance(recipe, Recipe):
        raise WrongType(
            "recipe", recipe, "a Recipe, such as Recipe(model='smollm2', data='my.jsonl', out_dir='out')"
        )
    report = (report or default_report(None)) if is_first_process() else silent
    began, out = time.perf_counter(), local_path("out_dir", recipe.out_dir)
    path = checkpoint_to_begin_from(recipe, out, resume, report, overwrite=overwrite)
    begin(recipe.seed)
    llm = LLM.load(recipe.model, recipe.init, recipe.tokenizer_dir, distribute=None, quiet=True)
    llm._report = report  # noqa: SLF001 - its own package: reading the weights takes long, too
    check_output(llm, recipe, output_of(recipe, out), overwrite=overwrite or resume is not None)
    length = _length(recipe, llm.config.block_size)
    precision, dtype = _precision(recipe)
    memory = TrainingMemory(llm=llm, recipe=recipe, precision=precision, dtype=dtype_name(dtype))
    memory.check(1)  # before the data are encoded, which may take long
    data = _data(llm, recipe, report)
    data.connect(llm.tokenizer, batch_size=recipe.batch_size, max_seq_length=length)
    data.setup("fit")
    learnt: Any = data._prepared()[0]  # noqa: SLF001 - its own package
    memory.check(learnt.longest)
    if overwrite and is_first_process():
        remove_checkpoints(out)
    write_recipe(out / RECIPE, recipe)
    sparse = any(mixture_of(layer.feed_forward) for layer in llm.config.architecture.layers)
    weight = _router_weight(llm, recipe, report) if sparse else 0.0
    module = Learning(
        llm,
        recipe,
        prepare=lambda mesh: prepare(llm, recipe, dtype, mesh),
        routers=RouterLogits() if weight else None,
        router_weight=weight,
    )
    metrics = Metrics(out / "metrics.csv", report)
    checkpoints = Checkpoints(out / CHECKPOINTS, recipe.save_every, report)
    trainer = trainer_of(
        recipe,
        precision,
        sparse=sparse,
        metrics=metrics,
        checkpoints=checkpoints,
        start=Start(llm=llm, recipe=recipe, data=data, memory=memory),
        report=report,
    )
    with allocating("Training"):
        ended = run(trainer, module, data, path, report)
    if ended and metrics.is_validation_due(trainer, module):  # the run was killed after its last step
        with quietly():
            trainer.validate(module, data, verbose=False)
    try:
        saved = save_trained(llm, recipe, out, report, first=trainer.is_global_zero) if ended else None
    except (LitGPTError, OSError):
        if (kept := checkpoints.newest) is not None:
            made = f"`litgpt convert {kept} FOLDER` makes a model of it"
            report(Notice(f"What was learnt is in {kept}; {made}."))
        raise
    if trainer.is_global_zero:
        _draw(out, f"{llm._loaded.checkpoint.name}, {method_of(recipe)}", report)  # noqa: SLF001 - as above
    seconds = time.perf_counter() - began
    if saved is not None and trainer.is_global_zero:
        report(Notice(end_table(recipe, saved, checkpoints.newest, trainer.global_step, metrics, seconds)))
    return Trained(
        saved=saved,
        checkpoint=checkpoints.newest,
        steps=trainer.global_step,
        train_loss=metrics.train_loss,
        val_loss=metrics.val_loss,
        seconds=seconds,
    )


def _router_weight(llm: LLM, recipe: Recipe, report: Report) -> float:
    """Return what the load-balancing loss of a mixture of experts counts; 0 adds none, which is reported."""
    if recipe.adapts:
        return 0.0  # routers are not trained
    weight = router_loss_coefficient(llm._loaded.checkpoint.config)  # noqa: SLF001 - its own package
    if weight and recipe.strategy != "fsdp":
        return weight
    if weight:
        reason = "strategy='fsdp' does not support it; 'ddp' does"
    else:
        reason = "its family, or router_aux_loss_coef in its config.json, has none"
    report(
        Notice(f"{recipe.model} is trained without a loss that balances the load of its experts: {reason}.")
    )
    return 0.0


def _length(recipe: Recipe, context: int) -> int:
    if recipe.max_seq_length is None:
        return min(context, _USUAL_LENGTH)
    if recipe.max_seq_length > context:
        raise BadArgument("max_seq_length", recipe.max_seq_length, f"at most {context}, the model's context")
    return recipe.max_seq_length


def _data(llm: LLM, recipe: Recipe, report: Report) -> DataModule:
    from litgpt.data import JSON, Alpaca, Alpaca2k, TextFiles

    style = style_to_learn(llm, recipe)
    common: dict[str, Any] = {"seed": recipe.seed, "parse_special_tokens": recipe.parse_special_tokens}
    how = {"mask_prompt": recipe.mask_prompt, "prompt_style": style, **common}
    path = local_path("data", recipe.data)
    data: DataModule
    if recipe.task == "pretrain":
        apart = all((path / part).is_dir() for part in ("train", "val"))
        texts, val = (path / "train", path / "val") if apart else (path, None)
        data = TextFiles(texts, val, **common)
    elif recipe.data == "alpaca":
        data = Alpaca(**how)
    elif recipe.data in ("alpaca2k", "alpaca_2k"):
        data = Alpaca2k(**how)
    else:
        split = None if path.is_dir() else recipe.val_split
        data = JSON(path, val_split_fraction=split, **how)
    data.report_to(report)
    return data


def _precision(recipe: Recipe) -> tuple[str, torch.dtype]:
    """Return the Trainer's precision, and what the model's own weights are in."""
    hardware = container.strategy().hardware()
    kind = hardware.accelerator if recipe.accelerator in ("auto", "gpu") else recipe.accelerator
    fast = kind in hardware.bfloat16
    wish = recipe.precision or ("32-true" if not fast else "bf16-true" if recipe.adapts else "bf16-mixed")
    if wish == "16-mixed" and kind == "cpu":
        raise BadArgument("precision", wish, "'bf16-mixed', 'bf16-true' or '32-true' on a CPU")
    if wish == "bf16-true" and recipe.adapts:
        return "32-true", torch.bfloat16  # weights that stay are read so, and adapters learn in float32
    return wish, torch.bfloat16 if wish == "bf16-true" else torch.float32


def _draw(out: Path, title: str, report: Report) -> None:
    try:
        draw_losses(out / "metrics.csv", out / "loss.png", title)
    except NotInstalled as error:
        report(Notice(str(error)))
    except OSError as error:
        report(Notice(f"The losses were not drawn: {(error.strerror or str(error)).lower()}."))


__all__ = ["Recipe", "Trained", "recipe_of", "train"]
