"""Checkpoints of a run: one is written while the one before it is still there."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - as everybody calls it
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Callback

from litgpt.adapters.training.trainer_checkpoint import check_readable, read_checkpoint
from litgpt.application.files.atomic_write import atomic_write, remove_abandoned
from litgpt.domain.errors import (
    CorruptFile,
    InsufficientSpace,
    InvalidArgument,
    InvalidCheckpoint,
    MissingFile,
)
from litgpt.domain.progress import Notice, Reporter, null_reporter
from litgpt.domain.validators import local_path

CORRUPT_SUFFIX = ".damaged"
"""What follows the name of a checkpoint that could not be read."""

_STATE_COPIES = 3
"""A parameter in training has two moments besides itself."""


class AtomicCheckpointIO(CheckpointIO):
    """Writes a checkpoint under another name first; a failure is kept, so that all processes go on together.

    Attributes:
        failure: What went wrong the last time; None: nothing.

    """

    failure: str | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write one."""
        del storage_options
        path = Path(path)
        self.failure = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # torch, given a path, does not say what went wrong
            atomic_write(path, lambda file: torch.save(checkpoint, file))
        except (OSError, RuntimeError) as error:
            # torch's writer raises a RuntimeError of its own when the disk is full.
            cause = error.__context__ if isinstance(error.__context__, OSError) else error
            self.failure = (getattr(cause, "strerror", None) or str(error)).splitlines()[0].lower()

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = None,
        weights_only: bool | None = None,  # noqa: FBT001 - Lightning's signature
    ) -> Any:
        """Read one: tensors and plain values, and nothing that could run.

        Raises:
            InvalidCheckpoint: It cannot be read.

        """
        del map_location, weights_only
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove one."""
        delete_checkpoint(Path(path))


class CheckpointCallback(Callback):
    """Saves a run every so many steps, after each epoch, and at its end; the newest one is kept.

    Args:
        folder: Where.
        every: After how many optimizer steps; None is after each epoch.
        report: Is told what could not be saved.

    """

    def __init__(self, folder: Path, save_steps: int | None, report: Reporter) -> None:
        self.folder, self._every, self._report = folder, save_steps, report
        self._step = self._saved = self._began = -1

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check that the disk has room for two checkpoints.

        Raises:
            UnsupportedOperation: It has not.

        """
        self._step = self._began = trainer.global_step
        if not trainer.is_global_zero:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(self.folder)
        needed = sum(_STATE_COPIES * one.nbytes for one in pl_module.parameters() if one.requires_grad)
        needed *= 1 if self.newest else 2
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            has = f"checkpoints take {needed / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB"
            raise InsufficientSpace(
                f"Training to {self.folder.parent}", f"{has}. Free some, or choose another out_dir."
            )

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Save, if it is time."""
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        if stepped and self._every is not None and trainer.global_step % self._every == 0:
            self.save(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save after an epoch, if that is when."""
        del pl_module
        if self._every is None:
            self.save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what the last steps learned."""
        del pl_module
        self.save(trainer)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Save what was learned before something went wrong, where no other process has to join in."""
        del pl_module, exception
        if trainer.world_size == 1 and trainer.global_step > max(0, self._began):
            with suppress(Exception):  # what went wrong first is what is to be told
                self.save(trainer)

    def save(self, trainer: L.Trainer) -> None:
        """Save a run as it is, and let go of the one before. A failure is told, and training goes on."""
        if self._saved == trainer.global_step:
            return
        before, path = self.newest, checkpoint_path(self.folder, trainer.global_step)
        trainer.save_checkpoint(path)
        writer = trainer.strategy if hasattr(trainer.strategy, "failure") else trainer.strategy.checkpoint_io
        # Of the first process, which writes: all are to try again together, or none.
        failure = trainer.strategy.broadcast(getattr(writer, "failure", None))
        if failure is None:
            self._saved = trainer.global_step
        if not trainer.is_global_zero:
            return
        if failure is None:
            if before is not None and before != path:
                delete_checkpoint(before)
            return
        kept = f"{before} is the last one" if before is not None else "There is none yet"
        self._report(
            Notice(f"The checkpoint of step {trainer.global_step} was not saved: {failure}. {kept}.")
        )

    @property
    def newest(self) -> Path | None:
        """The newest checkpoint; None: there is none."""
        return newest_checkpoint(self.folder)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return where the checkpoint of a step is."""
    return folder / f"step-{step:08d}.ckpt"


def delete_checkpoint(path: Path) -> None:
    """Remove a checkpoint, in one file or in several, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint in a folder; None: there is none."""
    return max(folder.glob("step-*.ckpt"), default=None)


def checkpoint_to_resume(
    folder: Path, requested: str, *, sharded: bool, report: Reporter = null_reporter
) -> Path:
    """Return the checkpoint to resume from.

    A damaged checkpoint is set aside under another name and reported if `last` finds an older one that is
    whole; a file that could run code is refused.

    Args:
        folder: Where the run's own checkpoints are.
        requested: `last`, or a path.
        sharded: Whether the run divides its weights, and so its checkpoints, among processes.
        report: Receives which checkpoints are damaged.

    Raises:
        InvalidArgument: There is no checkpoint, or it is a file although the run is sharded, or vice versa.
        InvalidCheckpoint: It cannot be read.

    """
    if requested == "last":
        candidates = sorted(folder.glob("step-*.ckpt"), reverse=True)
    else:
        candidates = [local_path("resume", requested)]
    damaged: list[tuple[Path, InvalidCheckpoint]] = []
    for found in candidates:
        if not found.exists():
            continue
        try:
            _check_kind(found, sharded=sharded)
            check_readable(found)
        except (CorruptFile, MissingFile) as error:
            damaged.append((found, error))
            continue
        for path, reason in damaged:
            _set_aside(path)
            kept = f"the damaged one is kept as {path.name}{CORRUPT_SUFFIX}"
            report(Notice(f"{reason} Resuming from {found.name}; {kept}."))
        return found
    if damaged:
        raise damaged[0][1]
    if requested == "last":
        raise InvalidArgument(
            "resume", requested, f"the path of a checkpoint, because there is none in {folder}"
        )
    raise InvalidArgument("resume", requested, "'last' or the path of an existing checkpoint")


def _check_kind(found: Path, *, sharded: bool) -> None:
    if found.is_dir() != sharded:
        what = "a folder, as 'fsdp' writes it" if sharded else "a file, as all strategies but 'fsdp' write it"
        raise InvalidArgument("resume", str(found), what)


def _set_aside(path: Path) -> None:
    """Rename a damaged checkpoint, so that it is not taken for the newest one again."""
    aside = path.with_name(path.name + CORRUPT_SUFFIX)
    with suppress(OSError):  # another process of the run may have done it, or the folder is read-only
        if path.is_dir():  # which cannot take the name of an earlier one
            delete_checkpoint(aside)
        path.replace(aside)
