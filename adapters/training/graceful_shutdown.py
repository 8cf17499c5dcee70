"""Ctrl-C, or the system's wish that a process end: the step in hand is finished and saved first."""

import signal
import threading
from types import FrameType
from typing import Any

import lightning as L  # noqa: N812 - as everybody calls it
from lightning.pytorch.callbacks import Callback

from litgpt.adapters.training.checkpointing import CheckpointCallback
from litgpt.domain.progress import Notice, Reporter

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterrupted(Exception):
    """Training has been asked to end, and what was learned is saved."""


class GracefulShutdown(Callback):
    """Ends training after the step in hand, in all processes at once. A second signal ends it at once.

    Args:
        checkpoints: Saves the run.
        report: Is told that it ends.

    """

    def __init__(self, checkpoints: CheckpointCallback, report: Reporter) -> None:
        self._checkpoints, self._report = checkpoints, report
        self._is_requested = self._is_reported = False
        self._before: dict[int, Any] = {}
        self._step = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen for signals."""
        del pl_module
        self._step = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            self._before = {one: signal.signal(one, self._on_signal) for one in _SIGNALS}

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """End, if that was asked for and a step is complete.

        Raises:
            TrainingInterrupted: It was.

        """
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        asked = self._is_requested
        if asked and not self._is_reported:
            self._is_reported = True
            self._report(Notice("Ending after this step; what was learned is saved."))
        if trainer.world_size > 1:
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked and stepped:
            self._checkpoints.save(trainer)
            raise TrainingInterrupted

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave signals to whom they belonged."""
        del trainer, pl_module
        self._restore_handlers()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Leave signals to whom they belonged."""
        del trainer, pl_module, exception
        self._restore_handlers()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        # Only a flag: what was interrupted may hold the locks of the terminal or of a logger.
        self._is_requested = True
        signal.signal(number, self._before[number] or signal.SIG_DFL)

    def _restore_handlers(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        self._before = {}
