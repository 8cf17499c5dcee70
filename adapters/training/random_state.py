"""Where a run is in its data and in its random numbers, so that it goes on from there when it is resumed."""

import random
from collections.abc import Mapping
from typing import Any

import lightning as L  # noqa: N812 - as everybody calls it
import torch
from lightning.pytorch.callbacks import Callback
from torch import distributed

_KEY = "random"


class RandomState(Callback):
    """Keeps the state of Python's and torch's random numbers, each process's, in each checkpoint.

    Attributes:
        is_rescue: Whether what is saved now is of a run in which something went wrong. Batches may have been
            taken, and numbers drawn, of which the weights know nothing: where it was after its last step is
            saved then.

    """

    def __init__(self) -> None:
        self.is_rescue = False
        self._read: Mapping[str, Any] | None = None
        self._step = -1
        self._then: tuple[Any, Any] | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take note of the step at which it begins."""
        del pl_module
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Take note of where the run is after each step, if it can be rescued: where it is one process."""
        if trainer.world_size == 1 and trainer.global_step != self._step:
            self._step = trainer.global_step
            self._then = (trainer.fit_loop.state_dict(), _states())

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write down where the run is; all processes join in."""
        del pl_module
        now: Any = _states()
        if self.is_rescue and self._then is not None and self._step == trainer.global_step:
            checkpoint["loops"]["fit_loop"], now = self._then
        checkpoint[_KEY] = _of_all(now, trainer.world_size)

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take note of the states that were read, if they are of as many processes."""
        del pl_module
        found = checkpoint.get(_KEY, [])
        if len(found) == trainer.world_size:
            self._read = found[trainer.global_rank]

    def on_train_batch_start(self, *_: Any) -> None:
        """Go on with them at the first batch: what Lightning does before it draws numbers too."""
        read, self._read = self._read, None
        if read is None:
            return
        version, numbers, spare = read["python"]
        random.setstate((version, tuple(numbers), spare))
        torch.set_rng_state(read["torch"])
        if torch.cuda.is_available() and len(read["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(read["cuda"])


def begin(seed: int) -> None:
    """Begin all random numbers with a seed."""
    L.seed_everything(seed, workers=True, verbose=False)


def _states() -> dict[str, Any]:
    """Return the states of this process, as plain values and tensors."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"python": random.getstate(), "torch": torch.get_rng_state(), "cuda": cuda}


def _of_all(states: dict[str, Any], processes: int) -> list[Any]:
    if processes == 1:
        return [states]
    found: list[Any] = [None] * processes
    distributed.all_gather_object(found, states)
    return found
