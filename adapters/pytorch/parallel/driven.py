"""The first rank's network: whatever is done with it, the other ranks are told to do as well."""

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from torch import Tensor

from litgpt.adapters.pytorch.cache import KVCache
from litgpt.adapters.pytorch.gpt import GPT
from litgpt.adapters.pytorch.parallel.commands import written
from litgpt.adapters.pytorch.parallel.crew import Crew
from litgpt.adapters.pytorch.parallel.gathering import gather, part_of
from litgpt.adapters.pytorch.parallel.group import Group
from litgpt.domain.architecture import Architecture
from litgpt.domain.gathering import patchwork
from litgpt.domain.parameters import Parameter

_numbers = itertools.count(1)


class DrivenGPT(GPT):
    """The first rank's part of a network, which takes the others along."""

    crew: Crew
    group: Group
    whole: Architecture
    """Of what it is a part."""
    end: Callable[[], object]
    """Ends the other ranks, the first time that it is called."""

    def empty_cache(self, **arguments: Any) -> KVCache:
        """Return an empty cache here, and have one made at every rank."""
        number = next(_numbers)
        with self.crew.together(written("cache", cache=number, arguments=arguments)):
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
        number = cache.number if isinstance(cache, DrivenCache) else None
        where = None if positions is None else positions.tolist()
        command = written("forward", cache=number, ids=input_ids.tolist(), positions=where, last=last)
        with self.crew.together(command):
            return super().forward(input_ids, cache, positions=positions, last=last)

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
        with self.crew.together(written("copy", cache=self.number, to=number)):
            return DrivenCache.around(super().copy(), self.crew, number)
