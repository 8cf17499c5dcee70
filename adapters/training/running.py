"""A Lightning Trainer, as a recipe asks for it, and a run of it."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - as everybody calls it
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from litgpt.adapters.training.checkpoints import Checkpoints, WholeFiles
from litgpt.adapters.training.learning import Learning
from litgpt.adapters.training.metrics import Metrics
from litgpt.adapters.training.random_state import ExactResume
from litgpt.adapters.training.sharded import Sharded
from litgpt.adapters.training.stopping import Stopped, StopsWell
from litgpt.domain.errors import LitGPTError, NotInstalled, OutOfReach
from litgpt.domain.reporting import Notice, Report
from litgpt.domain.training.recipe import Recipe

# From torch 2.13 it is called otherwise.
_SYNC = next(
    one
    for one in ("forward_sync_buffers", "broadcast_buffers")
    if one in signature(DistributedDataParallel).parameters
)
_LOUD = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")


def trainer_of(
    recipe: Recipe,
    precision: str,
    *,
    sparse: bool,
    metrics: Metrics,
    checkpoints: Checkpoints,
    start: Callable[[L.Trainer, Learning], str],
    report: Report,
) -> L.Trainer:
    """Return a Trainer.

    Args:
        recipe: What it is to do.
        precision: The Trainer's own.
        sparse: Whether some weights may get no gradient in a step, as experts that no token goes to.
        metrics: Writes down what it comes to.
        checkpoints: Saves it.
        start: Describes the run in one line, before its first step.
        report: Gets that line, and a notice if the run ends early.

    Raises:
        OutOfReach: The hardware is not there.
        NotInstalled: TensorBoard is not.

    """
    every = None if recipe.eval_every is None else recipe.eval_every * recipe.accumulate
    how: dict[str, Any] = dict.fromkeys(
        ("enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False
    )
    if recipe.strategy != "fsdp":
        how["plugins"] = [WholeFiles()]
    try:
        with quietly():
            return L.Trainer(
                accelerator=recipe.accelerator,
                devices=recipe.devices,
                num_nodes=recipe.nodes,
                strategy=_strategy(recipe, sparse=sparse),
                precision=precision,  # type: ignore[arg-type] # the recipe has checked it
                max_epochs=recipe.epochs or (-1 if recipe.max_steps else 1),
                max_steps=recipe.max_steps or -1,
                accumulate_grad_batches=recipe.accumulate,
                val_check_interval=every,
                check_val_every_n_epoch=None if every else 1,
                num_sanity_val_steps=0,
                logger=_tensorboard(recipe) if recipe.tensorboard else False,
                callbacks=[
                    ExactResume(recipe.seed),
                    _Announces(start, report),
                    metrics,
                    checkpoints,
                    StopsWell(checkpoints, report),
                ],
                default_root_dir=recipe.out_dir,
                **how,
            )
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        if isinstance(error, LitGPTError):
            raise
        # Lightning's own words for hardware that is not there.
        reason = str(error).splitlines()[0]
        raise OutOfReach(f"accelerator={recipe.accelerator!r}, devices={recipe.devices}", reason) from error


def run(
    trainer: L.Trainer, module: Learning, data: L.LightningDataModule, resume: Path | None, report: Report
) -> bool:
    """Train, and return whether the run came to its end.

    Args:
        trainer: What `trainer_of` made.
        module: What learns.
        data: What from.
        resume: A checkpoint from which to go on.
        report: Is told if it ends before its time.

    """
    try:
        with quietly():
            trainer.fit(module, data, ckpt_path=resume, weights_only=True if resume else None)
    except Stopped:
        if trainer.is_global_zero:
            report(Notice(f"Ended at step {trainer.global_step}, from which --resume last goes on."))
        return False
    return True


class _Announces(Callback):
    """Reports what is about to be trained.

    Args:
        start: Describes it.
        report: Gets the description.

    """

    def __init__(self, start: Callable[[L.Trainer, Learning], str], report: Report) -> None:
        self._start, self._report = start, report

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report it once, from the first process."""
        assert isinstance(pl_module, Learning)  # noqa: S101 - who made the trainer
        if trainer.is_global_zero:
            self._report(Notice(self._start(trainer, pl_module)))


def _strategy(recipe: Recipe, *, sparse: bool) -> Any:
    # On GPUs each strategy knows what its processes talk by.
    gloo = "gloo" if recipe.accelerator == "cpu" else None
    match recipe.strategy:
        case "ddp":
            # What is quantised are buffers: all processes have the same, and they never change.
            how: dict[str, Any] = {_SYNC: False}
            return DDPStrategy(process_group_backend=gloo, find_unused_parameters=sparse, **how)
        case "fsdp":
            devices = recipe.devices * recipe.nodes
            return Sharded(devices, 1, save_distributed_checkpoint=True, process_group_backend=gloo)
        case _:
            return "auto"


def _tensorboard(recipe: Recipe) -> Any:
    if find_spec("tensorboard") is None:
        raise NotInstalled("tensorboard=True", "tensorboard", "pip install tensorboard")
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(recipe.out_dir, name="tensorboard", version="")


@contextmanager
def quietly() -> Iterator[None]:
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
