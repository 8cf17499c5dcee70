"""The tensor-parallel strategy: every layer is split over several ranks."""

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor
from torch.distributed import FileStore, PrefixStore, Store, is_nccl_available  # type: ignore[attr-defined] # public

from litgpt.adapters.pytorch.distribution.placed_gpt import PlacedGPT
from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import (
    Communicator,
    GlooCommunicator,
    gloo_communicator,
)
from litgpt.adapters.pytorch.distribution.tensor_parallel.layers import parallelize
from litgpt.adapters.pytorch.distribution.tensor_parallel.placed_shard import PlacedShard
from litgpt.adapters.pytorch.distribution.tensor_parallel.rank0 import Rank0GPT, StepCommunicator
from litgpt.adapters.pytorch.distribution.tensor_parallel.rpc import CommandExecutor
from litgpt.adapters.pytorch.distribution.tensor_parallel.torchrun import (
    TorchrunGPT,
    rendezvous_store,
    translate_errors,
)
from litgpt.adapters.pytorch.distribution.tensor_parallel.worker_pool import WorkerPool
from litgpt.adapters.pytorch.distribution.tensor_parallel.worker_process import threads_per_rank
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.weights.loader import GPTT, load_weights
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.model import Architecture
from litgpt.domain.parallel.tensor_parallel import RankShard, shard_model
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.progress import Reporter, null_reporter
from litgpt.domain.weights.mapping import ParameterSource

# The timeout while the ranks start and, under torchrun, read their weights.
_COLLECTIVE_TIMEOUT = 600.0


@attrs.frozen
class TensorParallel:
    """Splits every layer over several ranks.

    The caller's process is rank 0 and starts the others, or torchrun has started all of them.

    Attributes:
        step_timeout: The timeout of a step between ranks that torchrun has started, in seconds.
    """

    step_timeout: float = 300.0

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        sources: tuple[ParameterSource, ...],
        checkpoint: Checkpoint[Tensor],
        report: Reporter,
    ) -> PlacedGPT:
        """Start the other ranks and read this rank's shard of each tensor.

        Raises:
            UnsupportedOperation: The model cannot be split, or other processes cannot open it.
            WorkerLost: Another rank did not start.
        """
        ranks = len(placement.devices)
        # Before any process starts: raises an error if the model cannot be split.
        shard = shard_model(architecture, sources, world_size=ranks, rank=placement.local_rank or 0)
        if placement.local_rank is not None:
            with translate_errors():
                peers = _communicator(
                    rendezvous_store(_COLLECTIVE_TIMEOUT), placement, rank=placement.local_rank, local=False
                )
            own = parallelize(shard, peers, partial(TorchrunGPT, communicator=peers))
            _load_shard(own, shard, checkpoint, placement, report)
            with translate_errors():
                _barrier(peers)
            peers.set_timeout(self.step_timeout)
            return PlacedShard(network=own, placement=placement)
        path = checkpoint.path
        if path is None:
            raise UnsupportedOperation(
                "generate_strategy='tensor_parallel'",
                f"{checkpoint.origin} exists in this process only, so other processes cannot open it. Save "
                "it first.",
            )
        folder = _private_folder()
        try:
            store = FileStore(str(folder / "store"), -1)
            pool = WorkerPool(
                {
                    "folder": str(folder),
                    "model": str(path),
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
            group = pool.run_collective(lambda: _communicator(store, placement, rank=0, local=True))
            pool.attach(group, partial(_reconnect, group, store))
            build = partial(Rank0GPT, communicator=group, pool=pool)
            model = parallelize(shard, StepCommunicator(group, pool), build)
            _load_shard(model, shard, checkpoint, placement, report)
            pool.run_collective(lambda: _barrier(group))
            threads = torch.get_num_threads()
            if model.input_device.type == "cpu":
                torch.set_num_threads(threads_per_rank(ranks))  # the ranks share the cores
        except BaseException:
            _shut_down(pool, folder)
            raise
        shut_down = weakref.finalize(model, _shut_down, pool, folder, threads)
        return PlacedShard(network=model, placement=placement, shut_down=shut_down)


def _private_folder() -> Path:
    """Create a temporary folder that only this user can open, for the rendezvous store."""
    try:
        return Path(tempfile.mkdtemp(prefix="litgpt-"))
    except OSError as error:
        reason = f"its processes need a temporary folder: {error}. Set TMPDIR to a writable folder."
        raise UnsupportedOperation("generate_strategy='tensor_parallel'", reason) from error


def _shut_down(pool: WorkerPool, folder: Path, threads: int | None = None) -> None:
    """End the worker ranks and restore the number of threads of this process."""
    if os.getpid() != pool.caller_pid:  # a fork of the caller must not end its workers
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
    """Build the model of a worker rank and return the executor of its commands."""
    if "OMP_NUM_THREADS" in os.environ:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    rank, ranks = job["rank"], job["ranks"]
    fields = {**job["placement"], "devices": tuple(job["placement"]["devices"]), "local_rank": rank}
    placement = Placement(**fields)
    store = FileStore(str(Path(job["folder"]) / "store"), -1)
    group = _communicator(store, placement, rank=rank, local=True)
    shard = shard_model(architecture, sources, world_size=ranks, rank=rank)
    model = _load_shard(parallelize(shard, group, GPT), shard, checkpoint, placement, null_reporter)
    _barrier(group)
    return CommandExecutor(model, group, partial(_reconnect, group, store))


def _communicator(store: Store, placement: Placement, *, rank: int, local: bool) -> GlooCommunicator:
    """Connect the ranks of a placement with the backend of their devices."""
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
    communicator.reconnect(PrefixStore(f"again/{attempt}", store), timeout=_COLLECTIVE_TIMEOUT)


def _barrier(communicator: Communicator) -> None:
    communicator.all_reduce(torch.zeros(1))


def _load_shard(
    model: GPTT, shard: RankShard, checkpoint: Checkpoint[Tensor], placement: Placement, report: Reporter
) -> GPTT:
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
            f"rank {shard.rank} needs {needed / 1e9:.1f} GB for its weights, more than the device has free. "
            "Use more devices, a smaller precision or quantize=.",
        ) from error
