"""Exact resumption: reproducible random numbers per step, and the data position of a step."""

import random
from hashlib import blake2b
from typing import Any

import lightning as L  # noqa: N812 - Lightning's convention
import torch
from lightning.pytorch.callbacks import Callback


class ExactResume(Callback):
    """Makes a resumed run identical to an uninterrupted one.

    Each optimizer step seeds the random generators from the seed, the step and the rank, so checkpoints need
    no generator states. Checkpoints have no gradients: after an error within the micro-batches of a step, the
    saved data position is that of the start of the step.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._step = -1
        self._micro_batches = 0
        self._is_interrupted = False

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Seed the random generators at the first micro-batch of a step, and count micro-batches."""
        if trainer.global_step != self._step:
            self._step, self._micro_batches = trainer.global_step, 0
            _seed_step(f"{self._seed} {self._step} {trainer.global_rank}")
        self._micro_batches += 1

    def on_exception(self, *_: Any) -> None:
        self._is_interrupted = True

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Rewind the saved data position to the start of an incomplete step."""
        del pl_module
        if not self._is_interrupted:
            return
        loop = checkpoint["loops"]["fit_loop"]
        if trainer.global_step == self._step:
            _rewind(loop, self._micro_batches)
        elif trainer.validating:
            _rewind_validation(loop)


def seed_everything(seed: int) -> None:
    """Seed all random generators."""
    L.seed_everything(seed, workers=True, verbose=False)


def _seed_step(step: str) -> None:
    seed = int.from_bytes(blake2b(step.encode(), digest_size=8).digest()) >> 1
    random.seed(seed)
    torch.manual_seed(seed)


def _rewind(loop: dict[str, Any], micro_batches: int) -> None:
    """Subtract the last micro-batches from the progress of Lightning's loop and of the data loader."""
    progress = loop["epoch_loop.batch_progress"]
    for count in (progress["total"], progress["current"]):
        count.update(dict.fromkeys(count, count["ready"] - micro_batches))
    progress["is_last_batch"] = False
    for loader in loop["state_dict"].get("combined_loader", ()):
        loader["batches"] = progress["current"]["ready"]


def _rewind_validation(loop: dict[str, Any]) -> None:
    """Discard an incomplete validation: restore the progress at the end of the last micro-batch."""
    progress = loop["epoch_loop.batch_progress"]
    for count in (progress["total"], progress["current"]):
        count["completed"] = count["ready"] - 1
    validation = loop["epoch_loop.val_loop.batch_progress"]
    for count in (validation["total"], validation["current"]):
        count.update(dict.fromkeys(count, 0))
