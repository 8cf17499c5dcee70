"""What makes a run go on exactly: the random numbers of each step, and where in the data it began."""

import random
from hashlib import blake2b
from typing import Any

import lightning as L  # noqa: N812 - as everybody calls it
import torch
from lightning.pytorch.callbacks import Callback


class ExactResume(Callback):
    """Makes a run go on from a checkpoint as it would have gone on without.

    The random numbers of an optimizer step follow from the seed, the step and the process, so that none of
    their states has to be kept. Gradients are in no checkpoint: if something goes wrong when some of the
    micro-batches of a step have been through, the checkpoint is of where in the data the step began.

    Args:
        seed: The run's.

    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._step = -1
        self._micro_batches = 0
        self._is_broken_off = False

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Begin the random numbers of a step, if this is its first micro-batch, and count it."""
        if trainer.global_step != self._step:
            self._step, self._micro_batches = trainer.global_step, 0
            _seed_step(f"{self._seed} {self._step} {trainer.global_rank}")
        self._micro_batches += 1

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Take note that the step in hand is not completed."""
        del trainer, pl_module, exception
        self._is_broken_off = True

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go back to where the step in hand began, if it was broken off."""
        del pl_module
        if not self._is_broken_off:
            return
        loop = checkpoint["loops"]["fit_loop"]
        if trainer.global_step == self._step:
            _rewind(loop, self._micro_batches)
        elif trainer.validating:
            _rewind_validation(loop)


def seed_everything(seed: int) -> None:
    """Begin all random numbers with a seed."""
    L.seed_everything(seed, workers=True, verbose=False)


def _seed_step(step: str) -> None:
    seed = int.from_bytes(blake2b(step.encode(), digest_size=8).digest()) >> 1
    random.seed(seed)
    torch.manual_seed(seed)


def _rewind(loop: dict[str, Any], micro_batches: int) -> None:
    """Take the last micro-batches out of the progress of Lightning's loop, and of the data's."""
    progress = loop["epoch_loop.batch_progress"]
    for count in (progress["total"], progress["current"]):
        count.update(dict.fromkeys(count, count["ready"] - micro_batches))
    progress["is_last_batch"] = False
    for loader in loop["state_dict"].get("combined_loader", ()):
        loader["batches"] = progress["current"]["ready"]


def _rewind_validation(loop: dict[str, Any]) -> None:
    """Let the progress be that of the end of the last micro-batch: half a validation is of no use."""
    progress = loop["epoch_loop.batch_progress"]
    for count in (progress["total"], progress["current"]):
        count["completed"] = count["ready"] - 1
    validation = loop["epoch_loop.val_loop.batch_progress"]
    for count in (validation["total"], validation["current"]):
        count.update(dict.fromkeys(count, 0))
