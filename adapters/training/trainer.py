"""Build the Lightning Trainer of a training config, and run it."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - Lightning's convention
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from litgpt.adapters.training.checkpointing import AtomicCheckpointIO, CheckpointCallback
from litgpt.adapters.training.exact_resume import ExactResume
from litgpt.adapters.training.fsdp_strategy import FSDPStrategy
from litgpt.adapters.training.graceful_shutdown import GracefulShutdown, TrainingInterrupted
from litgpt.adapters.training.lightning_module import LitModel
from litgpt.adapters.training.metrics import MetricsCallback
from litgpt.domain.errors import LitGPTError, NotInstalled, UnsupportedOperation
from litgpt.domain.progress import Notice, Reporter
from litgpt.domain.training.config import TrainConfig

# Renamed in torch 2.13.
_SYNC_BUFFERS_ARGUMENT = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in signature(DistributedDataParallel).parameters
)
_NOISY_LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")


def build_trainer(
    config: TrainConfig,
    precision: str,
    *,
    is_moe: bool,
    metrics: MetricsCallback,
    checkpoints: CheckpointCallback,
    start: Callable[[L.Trainer, LitModel], str],
    report: Reporter,
) -> L.Trainer:
    """Build a Trainer; `start` describes the run in one line, before its first step.

    With `is_moe`, some weights may have no gradient in a step, such as experts without tokens.
    """
    every = None if config.eval_every is None else config.eval_every * config.accumulate
    options: dict[str, Any] = dict.fromkeys(
        ("enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False
    )
    if config.strategy != "fsdp":
        options["plugins"] = [AtomicCheckpointIO()]
    try:
        with quiet_lightning():
            return L.Trainer(
                accelerator=config.accelerator,
                devices=config.devices,
                num_nodes=config.nodes,
                strategy=_strategy(config, is_moe=is_moe),
                precision=precision,  # type: ignore[arg-type] # validated by the config
                max_epochs=config.epochs or (-1 if config.max_steps else 1),
                max_steps=config.max_steps or -1,
                accumulate_grad_batches=config.accumulate,
                val_check_interval=every,
                check_val_every_n_epoch=None if every else 1,
                num_sanity_val_steps=0,
                logger=_tensorboard(config) if config.tensorboard else False,
                callbacks=[
                    ExactResume(config.seed),
                    _AnnounceStart(start, report),
                    metrics,
                    checkpoints,
                    GracefulShutdown(checkpoints, report),
                ],
                default_root_dir=config.out_dir,
                **options,
            )
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        if isinstance(error, LitGPTError):
            raise
        # Lightning's message about unavailable hardware.
        reason = str(error).splitlines()[0]
        raise UnsupportedOperation(
            f"accelerator={config.accelerator!r}, devices={config.devices}", reason
        ) from error


def fit(
    trainer: L.Trainer, module: LitModel, data: L.LightningDataModule, resume: Path | None, report: Reporter
) -> bool:
    """Train, and return whether the run was completed; report an interruption."""
    try:
        with quiet_lightning():
            trainer.fit(module, data, ckpt_path=resume, weights_only=True if resume else None)
    except TrainingInterrupted:
        if trainer.is_global_zero:
            report(Notice(f"Stopped at step {trainer.global_step}; continue with resume='last'."))
        return False
    return True


class _AnnounceStart(Callback):
    """Reports a description of the run before its first step."""

    def __init__(self, start: Callable[[L.Trainer, LitModel], str], report: Reporter) -> None:
        self._start, self._report = start, report

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, LitModel)  # noqa: S101 - build_trainer is used with LitModel only
        if trainer.is_global_zero:
            self._report(Notice(self._start(trainer, pl_module)))


def _strategy(config: TrainConfig, *, is_moe: bool) -> Any:
    # On GPUs, the strategies select their own backend.
    gloo = "gloo" if config.accelerator == "cpu" else None
    match config.strategy:
        case "ddp":
            # The buffers are quantized weights, equal on all processes and constant.
            options: dict[str, Any] = {_SYNC_BUFFERS_ARGUMENT: False}
            return DDPStrategy(process_group_backend=gloo, find_unused_parameters=is_moe, **options)
        case "fsdp":
            devices = config.devices * config.nodes
            return FSDPStrategy(devices, 1, save_distributed_checkpoint=True, process_group_backend=gloo)
        case _:
            return "auto"


def _tensorboard(config: TrainConfig) -> Any:
    if find_spec("tensorboard") is None:
        raise NotInstalled("tensorboard=True", "tensorboard", "pip install tensorboard")
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(config.out_dir, name="tensorboard", version="")


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's informational logs and advice, but not its errors."""
    levels = {name: logging.getLogger(name).level for name in _NOISY_LOGGERS}
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
