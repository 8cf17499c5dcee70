"""On SIGINT or SIGTERM, finish the current step and save a checkpoint before training ends."""

import signal
import threading
from types import FrameType
from typing import Any

import lightning as L  # noqa: N812 - Lightning's convention
from lightning.pytorch.callbacks import Callback

from litgpt.adapters.training.checkpointing import CheckpointCallback
from litgpt.domain.progress import Notice, Reporter

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterrupted(Exception):
    """Training was interrupted by a signal; a checkpoint is saved."""


class GracefulShutdown(Callback):
    """Ends training after the current step, in all processes; a second signal ends it immediately."""

    def __init__(self, checkpoints: CheckpointCallback, report: Reporter) -> None:
        self._checkpoints, self._report = checkpoints, report
        self._is_requested = self._is_reported = False
        self._before: dict[int, Any] = {}
        self._step = 0

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        self._step = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Raise TrainingInterrupted if a signal was received and a step is complete."""
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        is_requested = self._is_requested
        if is_requested and not self._is_reported:
            self._is_reported = True
            self._report(Notice("Stopping after this step and saving a checkpoint."))
        if trainer.world_size > 1:
            is_requested = trainer.strategy.reduce_boolean_decision(is_requested, all=False)
        if is_requested and stepped:
            self._checkpoints.save(trainer)
            raise TrainingInterrupted

    def on_train_end(self, *_: Any) -> None:
        self._restore_handlers()

    def on_exception(self, *_: Any) -> None:
        self._restore_handlers()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        # Only set a flag: the interrupted code may hold the lock of the terminal or of a logger.
        self._is_requested = True
        signal.signal(number, self._before[number] or signal.SIG_DFL)

    def _restore_handlers(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        self._before = {}
