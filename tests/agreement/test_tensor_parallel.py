"""Tests of tensor parallelism for every family: the logits of one device.

The ranks are threads here, so that all families take seconds; tests/adapters/test_workers.py has real
processes.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Queue
from threading import Barrier, Thread
from typing import Any, Literal

import attrs
import pytest
import torch
from torch import Tensor

from litgpt.adapters.pytorch.distribution.tensor_parallel.gather import gather_to_rank0, send_shards, shard_of
from litgpt.adapters.pytorch.distribution.tensor_parallel.layers import parallelize
from litgpt.adapters.pytorch.model.cache.kv_cache import KVCache
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.weights.loader import load_weights
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.memory.estimate import kv_cache_bytes, weight_bytes
from litgpt.domain.model import (
    AttentionSpec,
    GatedDeltaSpec,
    Mamba2Spec,
    MLASpec,
    NormSpec,
    ParallelMixerSpec,
    QkNormSpec,
)
from litgpt.domain.parallel.gather_plan import gather_plan
from litgpt.domain.parallel.tensor_parallel import shard_model
from litgpt.domain.progress import null_reporter
from litgpt.domain.quantization import Quantization
from tests.agreement.models import VARIANTS, Pair, Variant, pair, random_ids

LENGTH = 24
PATIENCE = 120.0


@attrs.define(eq=False)
class Meeting:
    """A barrier of threads: each contributes its tensor and receives the sum."""

    ranks: int
    tensors: dict[int, Tensor] = attrs.field(factory=dict)
    sent: dict[tuple[int, int], Queue[Tensor]] = attrs.field(factory=lambda: defaultdict(Queue))
    barrier: Barrier = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.barrier = Barrier(self.ranks, timeout=PATIENCE)

    def exchange(self, rank: int, x: Tensor) -> list[Tensor]:
        self.tensors[rank] = x
        self.barrier.wait()
        tensors = [self.tensors[i].clone() for i in range(self.ranks)]
        self.barrier.wait()
        return tensors


@attrs.frozen
class ThreadGroup:
    """A communicator of one thread in a `Meeting`."""

    meeting: Meeting
    rank: int

    @property
    def world_size(self) -> int:
        return self.meeting.ranks

    def all_reduce(self, x: Tensor) -> Tensor:
        return torch.stack(self.meeting.exchange(self.rank, x)).sum(0)

    def all_gather(self, x: Tensor, sizes: list[int]) -> Tensor:
        parts = self.meeting.exchange(self.rank, x)
        assert [part.shape[-1] for part in parts] == sizes
        return torch.cat(parts, -1)

    def send(self, x: Tensor, destination: int) -> None:
        self.meeting.sent[self.rank, destination].put(x.clone())

    def receive(self, shape: Sequence[int], dtype: torch.dtype, source: int) -> Tensor:
        x = self.meeting.sent[source, self.rank].get(timeout=PATIENCE)
        assert x.shape == shape
        assert x.dtype == dtype
        return x


def rank_of(both: Pair, meeting: Meeting, rank: int, quantize: Quantization | None = None) -> GPT:
    part = shard_model(both.actual.architecture, both.joins, world_size=meeting.ranks, rank=rank)
    model = parallelize(part, ThreadGroup(meeting, rank), GPT)
    cpu = torch.device("cpu")
    return load_weights(
        model,
        part.sources,
        both.checkpoint,
        device=lambda _: cpu,
        dtype="float32",
        report=null_reporter,
        zeroed=part.zeroed,
        quantize=quantize,
    )


def on_all_ranks(ranks: int, work: Callable[[int], Tensor]) -> list[Tensor]:
    """Return each rank's result; the error of one rank is raised by all."""
    results: list[Any] = [None] * ranks

    def run(rank: int) -> None:
        try:
            with torch.inference_mode():
                results[rank] = work(rank)
        except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
            results[rank] = error

    threads = [Thread(target=run, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for value in results:
        if isinstance(value, BaseException):
            raise value
    return results


# A projection of all channels or a convolution of all heads within a mixer; norms within a feed-forward;
# streams.
NOT_SPLIT = {"MambaSpec", "KimiDeltaSpec", "RGLRUSpec", "LightningSpec", "DenseAndMoESpec", "AltUpSpec"}


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_ranks_give_the_logits_of_one_device_and_its_weights_when_they_are_gathered(
    variant: Variant, ranks: int, tmp_path: Path
) -> None:
    both, meeting = pair(variant, tmp_path), Meeting(ranks)
    layers = both.actual.architecture.layers
    kinds = [type(part).__name__ for layer in layers for part in (layer.mixer, layer.mlp, layer.altup)]
    if not NOT_SPLIT.isdisjoint(kinds):
        with pytest.raises(UnsupportedOperation, match=f"of type ({'|'.join(NOT_SPLIT)}) cannot be split"):
            rank_of(both, meeting, 0)
        return
    split = (AttentionSpec, MLASpec, GatedDeltaSpec, Mamba2Spec, ParallelMixerSpec)
    first = next(layer.mixer for layer in layers if isinstance(layer.mixer, split))
    space = first.state_space if isinstance(first, ParallelMixerSpec) else first
    if isinstance(space, Mamba2Spec) and space.norm is not None and 1 < space.num_groups < ranks:
        with pytest.raises(UnsupportedOperation, match="norms of 2 groups of heads cannot be split"):
            rank_of(both, meeting, 0)
        return
    if (
        isinstance(first, AttentionSpec) and first.num_kv_heads < ranks and first.num_heads % ranks
    ):  # six heads with one key and value, over four ranks
        with pytest.raises(UnsupportedOperation, match="cannot be split evenly"):
            rank_of(both, meeting, 0)
        return
    models = [rank_of(both, meeting, rank) for rank in range(ranks)]
    ids = random_ids(1, LENGTH)
    expected = both.actual(ids)

    def work(rank: int) -> Tensor:
        architecture = models[rank].architecture
        cache = KVCache.empty(
            architecture, max_length=LENGTH, device=torch.device("cpu"), dtype=torch.float32
        )
        return torch.cat([models[rank](part, cache) for part in ids.split((LENGTH - 2, 1, 1), 1)], 1)

    for logits in on_all_ranks(ranks, work):
        assert (logits - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))
    for join in both.joins:
        name, shape = join.parameter.name, join.parameter.shape
        parts = gather_plan(join.parameter, ranks)
        for rank in range(1, ranks):  # sends are buffered, so a sequential order works
            send_shards(parts, shard_of(models[rank], name), ThreadGroup(meeting, rank))
        whole = gather_to_rank0(shape, parts, shard_of(models[0], name), ThreadGroup(meeting, 0))
        torch.testing.assert_close(whole, shard_of(both.actual, name), rtol=0, atol=0)
    assert all(queue.empty() for queue in meeting.sent.values())


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("kind", ["rms", "layer"])
@pytest.mark.parametrize("unit_offset", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_norms_over_all_heads_of_every_kind_are_those_of_one_device(
    kind: Literal["rms", "layer"], ranks: int, *, unit_offset: bool, bias: bool, tmp_path: Path
) -> None:
    both, meeting = pair(Variant("olmo2", "olmo2"), tmp_path), Meeting(ranks)
    norm = NormSpec(kind=kind, eps=1e-5, unit_offset=unit_offset, bias=bias)
    layers = []
    for layer in both.actual.architecture.layers:
        assert isinstance(layer.mixer, AttentionSpec)
        mixer = attrs.evolve(layer.mixer, qk_norm=QkNormSpec(norm=norm, scope="all"))
        layers.append(attrs.evolve(layer, mixer=mixer))
    architecture = attrs.evolve(both.actual.architecture, layers=tuple(layers))
    whole = GPT(architecture)
    with torch.no_grad():
        for tensor in whole.parameters():
            tensor.normal_(0.1, 0.2)
    models = []
    for rank in range(ranks):
        part = shard_model(architecture, (), world_size=ranks, rank=rank)
        model = parallelize(part, ThreadGroup(meeting, rank), GPT).to_empty(device="cpu")
        for parameter in architecture.parameters():
            sharding = parameter.sharding
            actual, of_whole = shard_of(model, parameter.name), shard_of(whole, parameter.name)
            if sharding.dim is None:
                actual.copy_(torch.zeros_like(of_whole) if sharding.rank0_only and rank else of_whole)
            else:
                ranges = sharding.ranges(ranks, rank)
                pieces = [of_whole.narrow(sharding.dim, start, stop - start) for start, stop in ranges]
                actual.copy_(torch.cat(pieces, sharding.dim))
        models.append(model)
    ids = random_ids(2, LENGTH)
    expected = whole(ids)
    for logits in on_all_ranks(ranks, lambda rank: models[rank](ids)):
        torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize("quantization", [None, "int8", "int4", "bnb.nf4"])
@pytest.mark.parametrize("ranks", [2, 4])
def test_each_ranks_estimated_memory_is_what_it_takes(
    quantization: Quantization | None, ranks: int, tmp_path: Path
) -> None:
    wide = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4}
    both, meeting = pair(Variant("wide", "llama", wide), tmp_path), Meeting(ranks)
    whole = weight_bytes(both.actual.architecture, dtype="float32", quantize=quantization)
    for rank in range(ranks):
        part = shard_model(both.actual.architecture, both.joins, world_size=ranks, rank=rank)
        model = rank_of(both, meeting, rank, quantization)
        estimated = part.weight_bytes(dtype="float32", quantize=quantization)
        actual_bytes = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
        assert actual_bytes == pytest.approx(estimated, rel=0.02)
        assert estimated < 1.2 * whole / ranks
        cache = model.empty_cache(max_length=LENGTH, fixed=True)
        assert cache.nbytes == kv_cache_bytes(part.architecture, dtype="float32", tokens=LENGTH)
