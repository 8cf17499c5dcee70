"""Random numbers that go on where they were when a run is resumed."""

import random
from typing import Any

import lightning as L  # noqa: N812 - as everybody calls it
import torch
from lightning.pytorch.callbacks import Callback


class RandomState(Callback):
    """Keeps the state of Python's and torch's random numbers in each checkpoint."""

    def __init__(self) -> None:
        self._read: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the states, as plain values and tensors."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {"python": random.getstate(), "torch": torch.get_rng_state(), "cuda": cuda}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take note of the states that were read."""
        self._read = state

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
