"""The order of training data, and resumption within an epoch."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeVar

from torch.utils.data import DataLoader, DistributedSampler

from litgpt.domain.errors import InvalidArgument

T = TypeVar("T")


class EpochSampler(DistributedSampler[T]):
    """A shuffled order that depends on the seed and the epoch only.

    It is a DistributedSampler also for a single rank, so that Lightning keeps it and calls `set_epoch`.
    """

    skip = 0
    """The number of samples of this rank to skip at the start, after a resumption."""

    def __iter__(self) -> Iterator[T]:
        return islice(super().__iter__(), self.skip, None)


class ResumableLoader(DataLoader[T]):
    """A DataLoader over an EpochSampler that can be saved and resumed within an epoch.

    Lightning saves its state in checkpoints and restores it when `trainer.fit(ckpt_path=…)` resumes within
    an epoch. With another sampler (as with `overfit_batches`), it is a plain DataLoader.
    """

    _epoch = 0
    _taken = 0
    _saved: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[T]:  # type: ignore[override] # DataLoader returns its own iterator class
        # A generator function, so that nothing happens before the first batch: only then has Lightning set
        # the epoch, and prefetching workers would have started with another one.
        sampler, saved = self._epoch_sampler, self._saved
        self._saved, self._taken = None, 0
        if sampler is not None:
            self._epoch = sampler.epoch
            if saved is not None and saved["epoch"] == sampler.epoch:
                self._check(saved)
                self._taken = saved["batches"]
            sampler.skip = self._taken * (self.batch_size or 1)
        for batch in super().__iter__():
            self._taken += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, the number of consumed batches, and the settings that determine them."""
        if self._saved is not None:
            return self._saved
        return {"epoch": self._epoch, "batches": self._taken, **self._settings()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Skip the consumed batches in the next iteration of the same epoch."""
        self._saved = state
        if self._epoch_sampler is not None:
            self._epoch_sampler.set_epoch(state["epoch"])

    @property
    def _epoch_sampler(self) -> EpochSampler[Any] | None:
        return self.sampler if isinstance(self.sampler, EpochSampler) else None

    def _settings(self) -> dict[str, Any]:
        sampler = self._epoch_sampler
        if sampler is None:
            return {}
        return {
            "batch_size": self.batch_size,
            "ranks": sampler.num_replicas,
            "samples": len(sampler.dataset),  # type: ignore[arg-type] # all datasets here have a length
            "seed": sampler.seed,
        }

    def _check(self, saved: dict[str, Any]) -> None:
        for name, value in self._settings().items():
            before = saved.get(name)
            if before != value:
                raise InvalidArgument(
                    f"The number of {name}" if name in ("ranks", "samples") else name,
                    value,
                    f"{before!r}, as in the checkpoint, which was saved within an epoch (or resume from a "
                    "checkpoint that was saved at the end of an epoch)",
                )
