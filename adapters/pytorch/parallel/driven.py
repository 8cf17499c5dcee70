"""The first rank's network: whatever is done with it, the other ranks are told to do as well."""

import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.cache import KVCache
from litgpt.adapters.pytorch.parallel.commands import written
from litgpt.adapters.pytorch.parallel.crew import Crew
from litgpt.adapters.pytorch.parallel.gathering import gather, part_of
from litgpt.adapters.pytorch.parallel.group import Group
from litgpt.adapters.pytorch.parallel.interruptions import deferring
from litgpt.adapters.pytorch.parallel.split import SplitGPT
from litgpt.domain.errors import OutOfReach
from litgpt.domain.gathering import patchwork
from litgpt.domain.parameters import Parameter

_numbers = itertools.count(1)


class DrivenGPT(SplitGPT):
    """The first rank's part of a network, which takes the others along."""

    crew: Crew
    end: Callable[[], object]
    """Ends the other ranks, the first time that it is called."""

    def generating(self) -> AbstractContextManager[object]:
        """Exchange the handler of Ctrl-C once for all steps."""
        return deferring()

    def empty_cache(self, **arguments: Any) -> KVCache:
        """Return an empty cache here, and have one made at every rank."""
        number = next(_numbers)
        command = written("cache", cache=number, arguments=arguments)
        with _dropped_if_not_made(self.crew, number), self.crew.together(command):
            return DrivenCache.around(super().empty_cache(**arguments), self.crew, number)

    def forward(
        self,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last: bool = False,
    ) -> Tensor:
        """Return logits, as all ranks together compute them."""
        with self.crew.together(_told("forward", input_ids, cache, positions, last=last)):
            logits = super().forward(input_ids, cache, positions=positions, last=last)
            self.group.settle()
            return logits

    def hidden(
        self,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last: bool = False,
    ) -> Tensor:
        """Return what the head reads, as all ranks together compute it."""
        with self.crew.together(_told("hidden", input_ids, cache, positions, last=last)):
            return super().hidden(input_ids, cache, positions=positions, last=last)

    def gathered(self, parameter: Parameter) -> Tensor:
        """Return a tensor of the whole, on the CPU, of the parts that the ranks have now.

        Args:
            parameter: Which, as it is in the whole.

        """
        work, part = patchwork(self.whole, parameter, self.group.ranks), part_of(self, parameter.name)
        if work.alone:
            return part.cpu()
        command = written("hand_over", name=parameter.name, work=attrs.asdict(work))
        with self.crew.together(command):
            return gather(parameter.shape, work, part, self.group)


@attrs.frozen(eq=False)
class GroupInStep:
    """The ranks as the first rank's layers reach them: within a step, in which the others take part.

    A layer that is called by itself would wait for the other ranks; and beside another thread's step, it
    would be given the numbers of that.

    Attributes:
        group: The ranks.
        crew: The workers that compute the other ranks.

    """

    group: Group
    crew: Crew

    @property
    def ranks(self) -> int:
        """How many there are."""
        return self.group.ranks

    @property
    def rank(self) -> int:
        """Which one this is."""
        return self.group.rank

    def sum(self, x: Tensor) -> Tensor:
        """Return the sum of all ranks' `x`."""
        return self._here.sum(x)

    def gather(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Return all ranks' `x` end to end along the last dimension."""
        return self._here.gather(x, sizes)

    def send(self, x: Tensor, to: int) -> None:
        """Send a tensor to a rank that receives it now."""
        self._here.send(x, to)

    def receive(self, shape: Sequence[int], dtype: torch.dtype, of: int) -> Tensor:
        """Return the tensor that a rank sends to this one, on the CPU."""
        return self._here.receive(shape, dtype, of)

    @property
    def _here(self) -> Group:
        if not self.crew.is_together:
            reason = (
                "it needs the other ranks, which take part in whole steps. Call the model, which returns its "
                "logits."
            )
            raise OutOfReach("A layer by itself of a model that is split over ranks", reason)
        return self.group


def _told(
    do: str, input_ids: Tensor, cache: KVCache | None, positions: Tensor | None, *, last: bool
) -> bytes:
    number = cache.number if isinstance(cache, DrivenCache) else None
    where = None if positions is None else positions.tolist()
    return written(do, cache=number, ids=input_ids.tolist(), positions=where, last=last)


@attrs.define(eq=False)
class DrivenCache(KVCache):
    """The first rank's part of a cache; what happens to it happens to the others.

    Attributes:
        crew: Those who have the others.
        number: What it is called there.

    """

    crew: Crew = attrs.field(kw_only=True, repr=False)
    number: int = attrs.field(kw_only=True)

    @classmethod
    def around(cls, cache: KVCache, crew: Crew, number: int) -> "DrivenCache":
        """Return a cache with the contents of another."""
        own = {one.name: getattr(cache, one.name) for one in attrs.fields(KVCache)}
        made = cls(**own, crew=crew, number=number)
        weakref.finalize(made, crew.tell_later, written("drop", cache=number))
        return made

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Forget all rows but these, in this order."""
        with self.crew.together(written("keep_rows", cache=self.number, rows=list(rows))):
            super().keep_rows(rows)

    def truncate(self, length: int) -> bool:
        """Forget all slots from `length` on; return False if a layer lacks what comes before."""
        with self.crew.together(written("truncate", cache=self.number, length=length)):
            return super().truncate(length)

    def continue_as(self, *, limit: int, lengths: Sequence[int]) -> None:
        """Take the cache for texts that may become longer, or not as long."""
        arguments = {"limit": limit, "lengths": list(lengths)}
        with self.crew.together(written("continue_as", cache=self.number, **arguments)):
            super().continue_as(limit=limit, lengths=lengths)

    def copy(self) -> "DrivenCache":
        """Return a cache with the same contents and memory of its own."""
        number = next(_numbers)
        command = written("copy", cache=self.number, to=number)
        with _dropped_if_not_made(self.crew, number), self.crew.together(command):
            return DrivenCache.around(super().copy(), self.crew, number)


@contextmanager
def _dropped_if_not_made(crew: Crew, number: int) -> Iterator[None]:
    """Give the other ranks' memory back if this rank has none for its part of the cache."""
    try:
        yield
    except BaseException:
        crew.tell_later(written("drop", cache=number))
        raise
