"""A Lightning Trainer, as a recipe asks for it, and a run of it."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - as everybody calls it
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

from litgpt.adapters.training.checkpoints import Checkpoints, WholeFiles
from litgpt.adapters.training.learning import Learning
from litgpt.adapters.training.metrics import Metrics
from litgpt.adapters.training.random_state import RandomState
from litgpt.adapters.training.stopping import Stopped, StopsWell
from litgpt.domain.errors import NotInstalled, OutOfReach
from litgpt.domain.reporting import Notice, Report
from litgpt.domain.training.recipe import Recipe

_LOUD = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")


def run(
    recipe: Recipe,
    module: Learning,
    data: L.LightningDataModule,
    *,
    metrics: Metrics,
    checkpoints: Checkpoints,
    precision: str,
    resume: Path | None,
    report: Report,
) -> tuple[L.Trainer, bool]:
    """Train, and return the trainer and whether the run came to its end.

    Args:
        recipe: How.
        module: What.
        data: On what.
        metrics: Writes down what it comes to.
        checkpoints: Saves it.
        precision: The Trainer's.
        resume: A checkpoint from which to go on.
        report: Is told if it ends before its time.

    """
    callbacks = [RandomState(), metrics, checkpoints, StopsWell(checkpoints, report)]
    with _quietly():
        trainer = _trainer(recipe, callbacks, precision)
        try:
            trainer.fit(module, data, ckpt_path=resume, weights_only=True if resume else None)
        except Stopped:
            where = checkpoints.newest
            report(Notice(f"Ended at step {trainer.global_step}. Resume it from {where}."))
            return trainer, False
    return trainer, True


def _trainer(recipe: Recipe, callbacks: list[Callback], precision: str) -> L.Trainer:
    every = None if recipe.eval_every is None else recipe.eval_every * recipe.accumulate
    quiet: dict[str, Any] = dict.fromkeys(
        ("enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False
    )
    epochs = recipe.epochs or (-1 if recipe.max_steps else 1)
    how: dict[str, Any] = {"plugins": [WholeFiles()]} if recipe.strategy != "fsdp" else {}
    try:
        return L.Trainer(
            accelerator=recipe.accelerator,
            devices=recipe.devices,
            num_nodes=recipe.nodes,
            strategy=_strategy(recipe),
            precision=precision,  # type: ignore[arg-type] # the recipe has checked it
            max_epochs=epochs,
            max_steps=recipe.max_steps or -1,
            accumulate_grad_batches=recipe.accumulate,
            val_check_interval=every,
            check_val_every_n_epoch=None if every else 1,
            num_sanity_val_steps=0,
            logger=_tensorboard(recipe) if recipe.tensorboard else False,
            callbacks=callbacks,
            default_root_dir=recipe.out_dir,
            **how,
            **quiet,
        )
    except (RuntimeError, ValueError) as error:
        # Lightning's own words for hardware that is not there.
        if type(error).__module__.startswith("litgpt"):
            raise
        reason = str(error).splitlines()[0]
        raise OutOfReach(f"accelerator={recipe.accelerator!r}, devices={recipe.devices}", reason) from error


def _strategy(recipe: Recipe) -> Any:
    # On GPUs each strategy knows what its processes talk by.
    gloo = "gloo" if recipe.accelerator == "cpu" else None
    match recipe.strategy:
        case "ddp":
            return DDPStrategy(
                process_group_backend=gloo, find_unused_parameters=True, broadcast_buffers=False
            )
        case "fsdp":
            devices = recipe.devices * recipe.nodes
            return ModelParallelStrategy(
                devices, 1, save_distributed_checkpoint=True, process_group_backend=gloo
            )
        case _:
            return "auto"


def _tensorboard(recipe: Recipe) -> Any:
    try:
        from tensorboard import version  # noqa: F401 - only to know whether it is there
    except ImportError as error:
        raise NotInstalled("tensorboard=True", "tensorboard", "pip install tensorboard") from error
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(recipe.out_dir, name="tensorboard", version="")


@contextmanager
def _quietly() -> Iterator[None]:
    """Let Lightning say what goes wrong, and keep its advice to itself."""
    levels = {name: logging.getLogger(name).level for name in _LOUD}
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", "Total length of .* across ranks is zero")
            warnings.filterwarnings("ignore", ".isinstance.treespec, LeafSpec", FutureWarning)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
