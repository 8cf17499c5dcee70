"""Rank 0's model; every call is also sent to the worker ranks."""

import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import Communicator, GlooCommunicator
from litgpt.adapters.pytorch.distribution.tensor_parallel.defer_sigint import defer_sigint_between_steps
from litgpt.adapters.pytorch.distribution.tensor_parallel.gather import gather_to_rank0, lazy_gather, shard_of
from litgpt.adapters.pytorch.distribution.tensor_parallel.rpc import encode_command
from litgpt.adapters.pytorch.distribution.tensor_parallel.sharded_gpt import TensorParallelGPT
from litgpt.adapters.pytorch.distribution.tensor_parallel.worker_pool import WorkerPool
from litgpt.adapters.pytorch.model.cache.kv_cache import KVCache
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.model import Architecture, ParameterSpec
from litgpt.domain.parallel.gather_plan import gather_plan

_cache_ids = itertools.count(1)


class Rank0GPT(TensorParallelGPT):
    """The shard of rank 0, which drives the worker ranks."""

    def __init__(self, architecture: Architecture, communicator: GlooCommunicator, pool: WorkerPool) -> None:
        super().__init__(architecture, communicator)
        self.pool = pool

    def generation_context(self) -> AbstractContextManager[object]:
        return defer_sigint_between_steps()

    def empty_cache(self, **arguments: Any) -> KVCache:
        cache_id = next(_cache_ids)
        command = encode_command("cache", cache=cache_id, arguments=arguments)
        with _drop_on_error(self.pool, cache_id), self.pool.collective(command):
            return Rank0Cache.wrap(super().empty_cache(**arguments), self.pool, cache_id)

    def collective_step(
        self,
        method: str,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last_token_only: bool = False,
    ) -> AbstractContextManager[object]:
        """Send the call to the worker ranks and collect their results at the end."""
        command = encode_command(
            method,
            cache=cache.cache_id if isinstance(cache, Rank0Cache) else None,
            ids=input_ids.tolist(),
            positions=None if positions is None else positions.tolist(),
            last=last_token_only,
        )
        return self.pool.collective(command)

    def gather_context(
        self, parameters: Sequence[ParameterSpec]
    ) -> AbstractContextManager[Callable[[str], Tensor]]:
        return nullcontext(lazy_gather(parameters, self.gather))

    def gather(self, parameter: ParameterSpec) -> Tensor:
        """Gather the current value of a parameter of the full model, on the CPU."""
        plan = gather_plan(parameter, self.communicator.world_size)
        shard = shard_of(self, parameter.name)
        if plan.on_rank0:
            return shard.cpu()
        command = encode_command("send_shards", name=parameter.name, plan=attrs.asdict(plan))
        with self.pool.collective(command):
            return gather_to_rank0(parameter.shape, plan, shard, self.communicator)


@attrs.frozen(eq=False)
class StepCommunicator:
    """Restricts rank 0's collectives to steps in which the worker ranks take part.

    A layer that is called directly would wait for the other ranks forever or, during a step of another
    thread, receive tensors of that step.
    """

    communicator: Communicator
    pool: WorkerPool

    @property
    def world_size(self) -> int:
        return self.communicator.world_size

    @property
    def rank(self) -> int:
        return self.communicator.rank

    def all_reduce(self, x: Tensor) -> Tensor:
        return self._checked.all_reduce(x)

    def all_gather(self, x: Tensor, sizes: list[int]) -> Tensor:
        return self._checked.all_gather(x, sizes)

    def send(self, x: Tensor, destination: int) -> None:
        self._checked.send(x, destination)

    def receive(self, shape: Sequence[int], dtype: torch.dtype, source: int) -> Tensor:
        return self._checked.receive(shape, dtype, source)

    @property
    def _checked(self) -> Communicator:
        if not self.pool.in_collective:
            reason = (
                "the other ranks only take part in a forward pass of the whole model. Call the model, which "
                "returns logits."
            )
            raise UnsupportedOperation("Calling a single layer of a tensor-parallel model", reason)
        return self.communicator


@attrs.define(eq=False)
class Rank0Cache(KVCache):
    """Rank 0's part of a KV cache; every change is also sent to the worker ranks, where it has `cache_id`."""

    pool: WorkerPool = attrs.field(kw_only=True, repr=False)
    cache_id: int = attrs.field(kw_only=True)

    @classmethod
    def wrap(cls, cache: KVCache, pool: WorkerPool, cache_id: int) -> "Rank0Cache":
        """Return a cache with the contents of another, which the workers drop together with it."""
        fields = {field.name: getattr(cache, field.name) for field in attrs.fields(KVCache)}
        wrapped = cls(**fields, pool=pool, cache_id=cache_id)
        weakref.finalize(wrapped, pool.broadcast_deferred, encode_command("drop", cache=cache_id))
        return wrapped

    def keep_rows(self, rows: Sequence[int]) -> None:
        with self.pool.collective(encode_command("keep_rows", cache=self.cache_id, rows=list(rows))):
            super().keep_rows(rows)

    def join(
        self, source: KVCache, source_rows: Sequence[int], rows: Sequence[int], *, end: int | None = None
    ) -> None:
        assert isinstance(source, Rank0Cache)  # noqa: S101 - of the same model
        arguments = {"source_rows": list(source_rows), "rows": list(rows), "end": end}
        command = encode_command("join", cache=self.cache_id, source=source.cache_id, **arguments)
        with self.pool.collective(command):
            super().join(source, source_rows, rows, end=end)

    def truncate(self, length: int) -> bool:
        with self.pool.collective(encode_command("truncate", cache=self.cache_id, length=length)):
            return super().truncate(length)

    def set_limits(self, *, max_length: int, lengths: Sequence[int]) -> None:
        arguments = {"max_length": max_length, "lengths": list(lengths)}
        with self.pool.collective(encode_command("set_limits", cache=self.cache_id, **arguments)):
            super().set_limits(max_length=max_length, lengths=lengths)

    def copy(self) -> "Rank0Cache":
        cache_id = next(_cache_ids)
        command = encode_command("copy", cache=self.cache_id, to=cache_id)
        with _drop_on_error(self.pool, cache_id), self.pool.collective(command):
            return Rank0Cache.wrap(super().copy(), self.pool, cache_id)


@contextmanager
def _drop_on_error(pool: WorkerPool, cache_id: int) -> Iterator[None]:
    """Free the workers' parts of a cache if allocating the part of rank 0 fails."""
    try:
        yield
    except BaseException:
        pool.broadcast_deferred(encode_command("drop", cache=cache_id))
        raise
