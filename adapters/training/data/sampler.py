"""In which order a model sees its data, and going on in the middle of it."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeVar

from torch.utils.data import DataLoader, DistributedSampler

from litgpt.domain.errors import InvalidArgument

T = TypeVar("T")


class EpochSampler(DistributedSampler[T]):
    """An order that follows from the seed and the epoch alone, for this rank of several.

    It is a DistributedSampler also where there is one rank only, so that Lightning leaves it as it is and
    tells it the epoch.
    """

    skip = 0
    """How many of this rank's samples are left out at the beginning, because they were seen already."""

    def __iter__(self) -> Iterator[T]:
        return islice(super().__iter__(), self.skip, None)


class ResumableLoader(DataLoader[T]):
    """A DataLoader over an Order that is saved in the middle of an epoch, and goes on with the next batch.

    Lightning saves its state in each checkpoint, and restores it when `trainer.fit(ckpt_path=…)` goes on in
    the middle of an epoch. With another sampler (`overfit_batches` puts one in) it is as any DataLoader.
    """

    _epoch = 0
    _taken = 0
    _saved: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[T]:  # type: ignore[override] # which says how DataLoader does it
        # A generator, so that nothing happens before the first batch is asked for: only then has Lightning
        # told the order which epoch it is, and processes that load ahead would have begun with another.
        order, saved = self._epoch_sampler, self._saved
        self._saved, self._taken = None, 0
        if order is not None:
            self._epoch = order.epoch
            if saved is not None and saved["epoch"] == order.epoch:
                self._check(saved)
                self._taken = saved["batches"]
            order.skip = self._taken * (self.batch_size or 1)
        for batch in super().__iter__():
            self._taken += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return how far it is: how many batches were handed out, of which epoch, and how they were made."""
        if self._saved is not None:
            return self._saved
        return {"epoch": self._epoch, "batches": self._taken, **self._made()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on, when next iterated in the same epoch, after the batches that were handed out."""
        self._saved = state
        if self._epoch_sampler is not None:
            self._epoch_sampler.set_epoch(state["epoch"])

    @property
    def _epoch_sampler(self) -> EpochSampler[Any] | None:
        return self.sampler if isinstance(self.sampler, EpochSampler) else None

    def _made(self) -> dict[str, Any]:
        order = self._epoch_sampler
        if order is None:
            return {}
        return {
            "batch_size": self.batch_size,
            "ranks": order.num_replicas,
            "samples": len(order.dataset),  # type: ignore[arg-type] # ours have a length
            "seed": order.seed,
        }

    def _check(self, saved: dict[str, Any]) -> None:
        for name, value in self._made().items():
            before = saved.get(name)
            if before != value:
                raise InvalidArgument(
                    f"The number of {name}" if name in ("ranks", "samples") else name,
                    value,
                    f"{before!r}, as it was in the middle of the epoch where this checkpoint was saved, so "
                    "that what was not seen yet comes next (or begin from a checkpoint of an epoch's end)",
                )
