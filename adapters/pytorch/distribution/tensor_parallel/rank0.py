"""The first rank's network: whatever is done with it, the other ranks are told to do as well."""

import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import Communicator
from litgpt.adapters.pytorch.distribution.tensor_parallel.defer_sigint import defer_sigint_between_steps
from litgpt.adapters.pytorch.distribution.tensor_parallel.gather import gather_to_rank0, shard_of
from litgpt.adapters.pytorch.distribution.tensor_parallel.rpc import encode_command
from litgpt.adapters.pytorch.distribution.tensor_parallel.sharded_gpt import TensorParallelGPT
from litgpt.adapters.pytorch.distribution.tensor_parallel.worker_pool import WorkerPool
from litgpt.adapters.pytorch.model.kv_cache import KVCache
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.parallel.gather_plan import gather_plan
from litgpt.domain.weights.parameters import ParameterSpec

_cache_ids = itertools.count(1)


class Rank0GPT(TensorParallelGPT):
    """The first rank's part of a network, which takes the others along."""

    pool: WorkerPool
    shut_down: Callable[[], object]
    """Ends the other ranks, the first time that it is called."""

    def generation_context(self) -> AbstractContextManager[object]:
        """Exchange the handler of Ctrl-C once for all steps."""
        return defer_sigint_between_steps()

    def empty_cache(self, **arguments: Any) -> KVCache:
        """Return an empty cache here, and have one made at every rank."""
        number = next(_cache_ids)
        command = encode_command("cache", cache=number, arguments=arguments)
        with _drop_on_error(self.pool, number), self.pool.collective(command):
            return Rank0Cache.wrap(super().empty_cache(**arguments), self.pool, number)

    def forward(
        self,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last_token_only: bool = False,
    ) -> Tensor:
        """Return logits, as all ranks together compute them."""
        with self.pool.collective(
            _forward_command("forward", input_ids, cache, positions, last_token_only=last_token_only)
        ):
            logits = super().forward(input_ids, cache, positions=positions, last_token_only=last_token_only)
            self.communicator.synchronize()
            return logits

    def hidden_states(
        self,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last_token_only: bool = False,
    ) -> Tensor:
        """Return what the head reads, as all ranks together compute it."""
        with self.pool.collective(
            _forward_command("hidden_states", input_ids, cache, positions, last_token_only=last_token_only)
        ):
            return super().hidden_states(
                input_ids, cache, positions=positions, last_token_only=last_token_only
            )

    def gather(self, parameter: ParameterSpec) -> Tensor:
        """Return a tensor of the whole, on the CPU, of the parts that the ranks have now.

        Args:
            parameter: Which, as it is in the whole.

        """
        work, part = (
            gather_plan(self.full_architecture, parameter, self.communicator.world_size),
            shard_of(self, parameter.name),
        )
        if work.on_rank0:
            return part.cpu()
        command = encode_command("send_shards", name=parameter.name, plan=attrs.asdict(work))
        with self.pool.collective(command):
            return gather_to_rank0(parameter.shape, work, part, self.communicator)


@attrs.frozen(eq=False)
class StepCommunicator:
    """The ranks as the first rank's layers reach them: within a step, in which the others take part.

    A layer that is called by itself would wait for the other ranks; and beside another thread's step, it
    would be given the numbers of that.

    Attributes:
        communicator: The ranks.
        pool: The workers that compute the other ranks.

    """

    communicator: Communicator
    pool: WorkerPool

    @property
    def world_size(self) -> int:
        """How many there are."""
        return self.communicator.world_size

    @property
    def rank(self) -> int:
        """Which one this is."""
        return self.communicator.rank

    def all_reduce(self, x: Tensor) -> Tensor:
        """Return the sum of all ranks' `x`."""
        return self._checked.all_reduce(x)

    def all_gather(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Return all ranks' `x` end to end along the last dimension."""
        return self._checked.all_gather(x, sizes)

    def send(self, x: Tensor, destination: int) -> None:
        """Send a tensor to a rank that receives it now."""
        self._checked.send(x, destination)

    def receive(self, shape: Sequence[int], dtype: torch.dtype, source: int) -> Tensor:
        """Return the tensor that a rank sends to this one, on the CPU."""
        return self._checked.receive(shape, dtype, source)

    @property
    def _checked(self) -> Communicator:
        if not self.pool.in_collective:
            reason = (
                "it needs the other ranks, which take part in whole steps. Call the model, which returns its "
                "logits."
            )
            raise UnsupportedOperation("A layer by itself of a model that is split over ranks", reason)
        return self.communicator


def _forward_command(
    method: str, input_ids: Tensor, cache: KVCache | None, positions: Tensor | None, *, last_token_only: bool
) -> bytes:
    number = cache.cache_id if isinstance(cache, Rank0Cache) else None
    where = None if positions is None else positions.tolist()
    return encode_command(method, cache=number, ids=input_ids.tolist(), positions=where, last=last_token_only)


@attrs.define(eq=False)
class Rank0Cache(KVCache):
    """The first rank's part of a cache; what happens to it happens to the others.

    Attributes:
        pool: Those who have the others.
        cache_id: What it is called there.

    """

    pool: WorkerPool = attrs.field(kw_only=True, repr=False)
    cache_id: int = attrs.field(kw_only=True)

    @classmethod
    def wrap(cls, cache: KVCache, pool: WorkerPool, cache_id: int) -> "Rank0Cache":
        """Return a cache with the contents of another."""
        own = {one.name: getattr(cache, one.name) for one in attrs.fields(KVCache)}
        made = cls(**own, pool=pool, cache_id=cache_id)
        weakref.finalize(made, pool.broadcast_deferred, encode_command("drop", cache=cache_id))
        return made

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Forget all rows but these, in this order."""
        with self.pool.collective(encode_command("keep_rows", cache=self.cache_id, rows=list(rows))):
            super().keep_rows(rows)

    def truncate(self, length: int) -> bool:
        """Forget all slots from `length` on; return False if a layer lacks what comes before."""
        with self.pool.collective(encode_command("truncate", cache=self.cache_id, length=length)):
            return super().truncate(length)

    def set_limits(self, *, max_length: int, lengths: Sequence[int]) -> None:
        """Take the cache for texts that may become longer, or not as long."""
        arguments = {"max_length": max_length, "lengths": list(lengths)}
        with self.pool.collective(encode_command("set_limits", cache=self.cache_id, **arguments)):
            super().set_limits(max_length=max_length, lengths=lengths)

    def copy(self) -> "Rank0Cache":
        """Return a cache with the same contents and memory of its own."""
        number = next(_cache_ids)
        command = encode_command("copy", cache=self.cache_id, to=number)
        with _drop_on_error(self.pool, number), self.pool.collective(command):
            return Rank0Cache.wrap(super().copy(), self.pool, number)


@contextmanager
def _drop_on_error(pool: WorkerPool, cache_id: int) -> Iterator[None]:
    """Give the other ranks' memory back if this rank has none for its part of the cache."""
    try:
        yield
    except BaseException:
        pool.broadcast_deferred(encode_command("drop", cache=cache_id))
        raise
