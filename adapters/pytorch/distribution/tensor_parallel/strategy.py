"""The DistributionStrategy that splits every layer over several ranks."""

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor
from torch.distributed import FileStore, PrefixStore, Store, is_nccl_available  # type: ignore[attr-defined] # public

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import (
    Communicator,
    GlooCommunicator,
    gloo_communicator,
)
from litgpt.adapters.pytorch.distribution.tensor_parallel.gather import gather_from_torchrun, lazy_gather
from litgpt.adapters.pytorch.distribution.tensor_parallel.layers import parallelize
from litgpt.adapters.pytorch.distribution.tensor_parallel.rank0 import Rank0GPT, StepCommunicator
from litgpt.adapters.pytorch.distribution.tensor_parallel.rpc import CommandExecutor
from litgpt.adapters.pytorch.distribution.tensor_parallel.torchrun import (
    TorchrunGPT,
    rendezvous_store,
    translate_errors,
)
from litgpt.adapters.pytorch.distribution.tensor_parallel.worker_pool import WorkerPool
from litgpt.adapters.pytorch.distribution.tensor_parallel.worker_process import threads_per_rank
from litgpt.adapters.pytorch.generation.generator import TorchGenerator
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.quantization.registry import quantized_layers
from litgpt.adapters.pytorch.runtime.hardware import detect_hardware
from litgpt.adapters.pytorch.weights.exporter import ModelExporter
from litgpt.adapters.pytorch.weights.loader import GPTT, load_weights
from litgpt.domain.distribution.placement import Hardware, Placement
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.model import Architecture
from litgpt.domain.parallel.tensor_parallel import RankShard, shard_model
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.progress import Reporter, null_reporter
from litgpt.domain.weights.mapping import ParameterSource

# How long a rank waits for the others while they start and, under torchrun, read their weights.
_COLLECTIVE_TIMEOUT = 600.0


@attrs.frozen
class TensorParallel:
    """Several ranks, each with a part of every layer.

    The caller's process is the first, and starts the others; or it is one of those that torchrun has started.

    Attributes:
        startup_timeout: Seconds that ranks which were started from outside wait for each other within a step.
            Nobody
            watches them.

    """

    startup_timeout: float = 300.0

    def hardware(self, released_model: GPT | None = None) -> Hardware:
        """Return what this machine has, the memory of a model that is about to be released included."""
        return detect_hardware(released_model)

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        sources: tuple[ParameterSource, ...],
        checkpoint: Checkpoint[Tensor],
        report: Reporter,
    ) -> GPT:
        """Start the other ranks, and read this rank's part of each tensor.

        Raises:
            OutOfReach: The model cannot be split so, or nothing opens it in another process.
            WorkerLost: Another rank does not start.

        """
        ranks = len(placement.devices)
        mine = shard_model(
            architecture, sources, world_size=ranks, rank=placement.local_rank or 0
        )  # refuses what cannot be
        if placement.local_rank is not None:
            with translate_errors():
                meeting = _communicator(
                    rendezvous_store(_COLLECTIVE_TIMEOUT), placement, rank=placement.local_rank, local=False
                )
            given = _load_shard(parallelize(mine, meeting, TorchrunGPT), mine, checkpoint, placement, report)
            given.communicator, given.full_architecture = meeting, architecture
            with translate_errors():
                _barrier(meeting)
            meeting.set_timeout(self.startup_timeout)
            return given
        where = checkpoint.path
        if where is None:
            raise UnsupportedOperation(
                "generate_strategy='tensor_parallel'",
                f"{checkpoint.origin} is in this process alone, and no other can open it. Save it first.",
            )
        folder = _private_folder()
        try:
            store = FileStore(str(folder / "store"), -1)
            crew = WorkerPool(
                {
                    "folder": str(folder),
                    "model": str(where),
                    "name": checkpoint.name,
                    "tied": architecture.tie_word_embeddings,
                    "placement": attrs.asdict(placement),
                },
                world_size=ranks,
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        try:
            group = crew.run_collective(lambda: _communicator(store, placement, rank=0, local=True))
            crew.communicator = group
            if group.can_reconnect:
                crew.reconnect = lambda number: _reconnect(group, store, number)
            model = _load_shard(
                parallelize(mine, StepCommunicator(group, crew), Rank0GPT),
                mine,
                checkpoint,
                placement,
                report,
            )
            model.pool, model.communicator, model.full_architecture = crew, group, architecture
            crew.run_collective(lambda: _barrier(group))
            threads = torch.get_num_threads()
            if model.input_device.type == "cpu":
                torch.set_num_threads(threads_per_rank(ranks))  # the cores are for all ranks
        except BaseException:
            _shut_down(crew, folder)
            raise
        model.shut_down = weakref.finalize(model, _shut_down, crew, folder, threads)
        return model

    def release(self, model: GPT) -> None:
        """End the other ranks."""
        if isinstance(model, Rank0GPT):
            model.shut_down()

    @contextmanager
    def weights(self, model: GPT, sources: Sequence[ParameterSource]) -> Iterator[ModelExporter | None]:
        """Give what a model's weights are now, gathered as they are read; None where another rank writes.

        Raises:
            OutOfReach: They are quantized, or the rank that writes cannot.
            WorkerLost: A rank is gone.

        """
        if quantized_layers(model):
            reason = (
                "each rank has quantized its own part, by scales of its own. Place it on one device with the "
                "same quantize=, and save that."
            )
            raise UnsupportedOperation("Saving a quantized model that is split over ranks", reason)
        ours = tuple(join.parameter for join in sources)
        if isinstance(model, Rank0GPT):
            yield ModelExporter.from_model(model, sources, read_full=lazy_gather(ours, model.gather))
            return
        assert isinstance(model, TorchrunGPT)  # noqa: S101 - there is no other that this builds
        with gather_from_torchrun(model, ours) as gathered:
            yield None if gathered is None else ModelExporter.from_model(model, sources, read_full=gathered)

    def generator(self, model: GPT, placement: Placement) -> TorchGenerator:
        """Return what generates with `model`."""
        return TorchGenerator(model, placement.kv_cache_size)


def _private_folder() -> Path:
    """Return a new folder that no other user of this machine can open, for the ranks to find each other in.

    Raises:
        OutOfReach: There is nowhere to make one.

    """
    try:
        return Path(tempfile.mkdtemp(prefix="litgpt-"))
    except OSError as error:
        reason = f"its processes need a temporary folder: {error}. Set TMPDIR to one that can be written to."
        raise UnsupportedOperation("generate_strategy='tensor_parallel'", reason) from error


def _shut_down(pool: WorkerPool, folder: Path, threads: int | None = None) -> None:
    """End the other ranks, and give this one its cores back."""
    if os.getpid() != pool.caller_thread:  # a fork of the caller, whose ranks they are not
        return
    pool.close()
    shutil.rmtree(folder, ignore_errors=True)
    if threads is not None:
        torch.set_num_threads(threads)


def build_rank(
    job: Mapping[str, Any],
    architecture: Architecture,
    sources: tuple[ParameterSource, ...],
    checkpoint: Checkpoint[Tensor],
) -> CommandExecutor:
    """Return what does a worker's part, once it has read its slices.

    Args:
        job: What the caller told the worker.
        architecture: Of the whole model.
        sources: What its parameters are read from.
        checkpoint: Where from.

    """
    if "OMP_NUM_THREADS" in os.environ:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    rank, ranks = job["rank"], job["ranks"]
    said = {**job["placement"], "devices": tuple(job["placement"]["devices"]), "local_rank": rank}
    placement = Placement(**said)
    store = FileStore(str(Path(job["folder"]) / "store"), -1)
    group = _communicator(store, placement, rank=rank, local=True)
    mine = shard_model(architecture, sources, world_size=ranks, rank=rank)
    model = _load_shard(parallelize(mine, group, GPT), mine, checkpoint, placement, null_reporter)
    _barrier(group)
    return CommandExecutor(model, group, lambda number: _reconnect(group, store, number))


def _communicator(store: Store, placement: Placement, *, rank: int, local: bool) -> GlooCommunicator:
    """Return the ranks of a placement, to talk as their devices can."""
    ranks = len(placement.devices)
    if placement.backend == "nccl" and is_nccl_available():
        from litgpt.adapters.pytorch.distribution.tensor_parallel.nccl import nccl_communicator

        return nccl_communicator(
            store,
            rank=rank,
            world_size=ranks,
            timeout_seconds=_COLLECTIVE_TIMEOUT,
            device=torch.device(placement.device),
        )
    return gloo_communicator(
        store, rank=rank, world_size=ranks, timeout_seconds=_COLLECTIVE_TIMEOUT, local=local
    )


def _reconnect(communicator: GlooCommunicator, store: Store, attempt: int) -> None:
    """Make a group's connections anew, for the time with this number."""
    communicator.reconnect(PrefixStore(f"again/{attempt}", store), timeout=_COLLECTIVE_TIMEOUT)


def _barrier(communicator: Communicator) -> None:
    """Return when every rank has its weights."""
    communicator.all_reduce(torch.zeros(1))


def _load_shard(
    model: GPTT, shard: RankShard, checkpoint: Checkpoint[Tensor], placement: Placement, report: Reporter
) -> GPTT:
    """Give a rank's network its weights."""
    device = torch.device(placement.device)
    try:
        return load_weights(
            model,
            shard.sources,
            checkpoint,
            device=lambda _: device,
            dtype=placement.dtype,
            report=report,
            zeroed=shard.zeroed,
            quantize=placement.quantize,
        )
    except torch.cuda.OutOfMemoryError as error:
        needed = shard.weight_bytes(dtype=placement.dtype, quantize=placement.quantize)
        raise UnsupportedOperation(
            f"{checkpoint.name} on {placement.device}",
            f"its memory does not hold rank {shard.rank}'s {needed / 1e9:.1f} GB of weights. More devices, a "
            "smaller precision or quantize= make it less.",
        ) from error
