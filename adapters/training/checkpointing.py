"""Checkpoints of a run, written atomically; the previous one is deleted afterwards."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - Lightning's convention
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Callback

from litgpt.adapters.training.checkpoint_reader import check_readable, read_checkpoint
from litgpt.application.files.atomic_write import atomic_write, remove_abandoned
from litgpt.domain.errors import (
    CorruptFile,
    InsufficientSpace,
    InvalidArgument,
    InvalidCheckpoint,
    MissingFile,
)
from litgpt.domain.progress import Notice, Reporter, null_reporter

CORRUPT_SUFFIX = ".damaged"
"""The suffix of checkpoints that could not be read."""

_STATE_COPIES = 3
"""Each trained parameter is saved with its two AdamW moments."""


class AtomicCheckpointIO(CheckpointIO):
    """Writes checkpoints to a temporary name first; the `failure` of the last write does not end training."""

    failure: str | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, *_: Any, **__: Any) -> None:
        path = Path(path)
        self.failure = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Given a path, torch hides the cause of an error.
            atomic_write(path, lambda file: torch.save(checkpoint, file))
        except (OSError, RuntimeError) as error:
            # torch's writer raises RuntimeError if the disk is full.
            cause = error.__context__ if isinstance(error.__context__, OSError) else error
            self.failure = (getattr(cause, "strerror", None) or str(error)).splitlines()[0].lower()

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> Any:
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        delete_checkpoint(Path(path))


class CheckpointCallback(Callback):
    """Saves a checkpoint periodically and at the end of training, and keeps the newest one only.

    Without `save_steps` (optimizer steps between checkpoints), it saves after each epoch.
    """

    def __init__(self, folder: Path, save_steps: int | None, report: Reporter) -> None:
        self.folder, self._every, self._report = folder, save_steps, report
        self._step = self._saved = self._began = -1

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step = self._began = trainer.global_step
        if not trainer.is_global_zero:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(self.folder)
        needed = sum(_STATE_COPIES * p.nbytes for p in pl_module.parameters() if p.requires_grad)
        needed *= 1 if self.newest else 2
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            reason = f"checkpoints take {needed / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free"
            raise InsufficientSpace(
                f"Training to {self.folder.parent}", f"{reason}. Free disk space, or choose another out_dir."
            )

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        if stepped and self._every is not None and trainer.global_step % self._every == 0:
            self.save(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if self._every is None:
            self.save(trainer)

    def on_train_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.save(trainer)

    def on_exception(self, trainer: L.Trainer, *_: Any) -> None:
        """Save the progress after an error in single-process training."""
        if trainer.world_size == 1 and trainer.global_step > max(0, self._began):
            with suppress(Exception):  # the original error is the one to raise
                self.save(trainer)

    def save(self, trainer: L.Trainer) -> None:
        """Save the run and delete the previous checkpoint; a failure is reported and training continues."""
        if self._saved == trainer.global_step:
            return
        previous, path = self.newest, checkpoint_path(self.folder, trainer.global_step)
        trainer.save_checkpoint(path)
        writer = trainer.strategy if hasattr(trainer.strategy, "failure") else trainer.strategy.checkpoint_io
        # The result of process 0, which writes, so that all processes agree.
        failure = trainer.strategy.broadcast(getattr(writer, "failure", None))
        if failure is None:
            self._saved = trainer.global_step
        if not trainer.is_global_zero:
            return
        if failure is None:
            if previous is not None and previous != path:
                delete_checkpoint(previous)
            return
        last = f"The last checkpoint is {previous}" if previous is not None else "None was saved before"
        self._report(
            Notice(f"The checkpoint of step {trainer.global_step} was not saved: {failure}. {last}.")
        )

    @property
    def newest(self) -> Path | None:
        return newest_checkpoint(self.folder)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the path of the checkpoint of a step."""
    return folder / f"step-{step:08d}.ckpt"


def delete_checkpoint(path: Path) -> None:
    """Delete a checkpoint, a file or a folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint in a folder, or None."""
    return max(folder.glob("step-*.ckpt"), default=None)


def checkpoint_to_resume(
    candidates: Sequence[Path], *, sharded: bool, report: Reporter = null_reporter
) -> Path:
    """Return the first valid checkpoint; the damaged ones before it are renamed and reported.

    A run with FSDP (`sharded`) resumes from sharded checkpoints only.

    Raises:
        InvalidArgument: A checkpoint is sharded although the run is not, or vice versa.
        InvalidCheckpoint: No checkpoint can be read; the error is that of the newest.
    """
    damaged: list[tuple[Path, InvalidCheckpoint]] = []
    for path in candidates:
        try:
            _check_kind(path, sharded=sharded)
            check_readable(path)
        except (CorruptFile, MissingFile) as error:
            damaged.append((path, error))
            continue
        for damaged_path, reason in damaged:
            _set_aside(damaged_path)
            renamed = f"the damaged checkpoint was renamed to {damaged_path.name}{CORRUPT_SUFFIX}"
            report(Notice(f"{reason} Resuming from {path.name}; {renamed}."))
        return path
    raise damaged[0][1]


def _check_kind(path: Path, *, sharded: bool) -> None:
    if path.is_dir() != sharded:
        expected = "a folder, written with 'fsdp'" if sharded else "a file, written without 'fsdp'"
        raise InvalidArgument("resume", str(path), expected)


def _set_aside(path: Path) -> None:
    """Rename a damaged checkpoint, so that `last` does not find it again."""
    aside = path.with_name(path.name + CORRUPT_SUFFIX)
    with suppress(OSError):  # another process may have renamed it, or the folder is read-only
        if path.is_dir():  # a folder cannot replace an existing one
            delete_checkpoint(aside)
        path.replace(aside)
