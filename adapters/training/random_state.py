"""Where a run is, so that it can be resumed there: its random numbers and its place in the data."""

import random
from copy import deepcopy
from typing import Any

import attrs
import lightning as L  # noqa: N812 - as everybody calls it
import torch
from lightning.pytorch.callbacks import Callback
from torch import distributed

_PROCESSES = "random_of_processes"  # each draws its own: what it drops depends on how long its batches are


@attrs.frozen
class _Place:
    numbers: dict[str, Any]
    loop: dict[str, Any]


class RandomState(Callback):
    """Keeps the state of Python's and torch's random numbers in each checkpoint.

    Gradients are in none. So if something goes wrong when some of the batches of a step have been through,
    what is kept is the place where that step began: then nothing of it is left out.
    """

    def __init__(self) -> None:
        self._read: dict[str, Any] | None = None
        self._own: dict[str, Any] | None = None
        self._step = -1
        self._began: _Place | None = None
        self._is_broken_off = False

    def state_dict(self) -> dict[str, Any]:
        """Return the states, as plain values and tensors."""
        return self._began.numbers if self._is_broken_off and self._began else _numbers()

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take note of this process's states, if they are of as many processes as there are."""
        del pl_module
        found = checkpoint.get(_PROCESSES, ())
        self._own = found[trainer.global_rank] if len(found) == trainer.world_size else None

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take note of the states that were read."""
        self._read = state

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take note of the step with which the run begins."""
        del pl_module
        self._step = trainer.global_step

    def on_train_batch_start(self, *_: Any) -> None:
        """Go on with them at the first batch: what Lightning does before it draws numbers too."""
        read, self._read, self._own = self._own or self._read, None, None
        if read is None:
            return
        version, numbers, spare = read["python"]
        random.setstate((version, tuple(numbers), spare))
        torch.set_rng_state(read["torch"])
        if torch.cuda.is_available() and len(read["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(read["cuda"])

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Take note of where the next step begins."""
        if trainer.global_step != self._step:
            self._note(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take note of where the next step begins: in another epoch."""
        del pl_module
        self._note(trainer)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Go back to where the step began."""
        del trainer, pl_module, exception
        self._is_broken_off = True

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Say where in the data that is, and where each process's random numbers are; all join in."""
        del pl_module
        if trainer.world_size > 1:
            found: list[Any] = [None] * trainer.world_size
            distributed.all_gather_object(found, _numbers())
            checkpoint[_PROCESSES] = found
        if self._is_broken_off and self._began:
            checkpoint["loops"]["fit_loop"] = self._began.loop

    def _note(self, trainer: L.Trainer) -> None:
        self._step = trainer.global_step
        self._began = _Place(_numbers(), deepcopy(trainer.fit_loop.state_dict()))


def begin(seed: int) -> None:
    """Begin all random numbers with a seed."""
    L.seed_everything(seed, workers=True, verbose=False)


def _numbers() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"python": random.getstate(), "torch": torch.get_rng_state(), "cuda": cuda}
