"""The tensor-parallel strategy: every layer is split over several ranks."""

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

# The timeout while the ranks start and, under torchrun, read their weights.
_COLLECTIVE_TIMEOUT = 600.0


@attrs.frozen
class TensorParallel:
    """Splits every layer over several ranks.

    The caller's process is rank 0 and starts the others, or torchrun has started all of them.

    Attributes:
        startup_timeout: The timeout of a step between ranks that torchrun has started, in seconds.
    """

    startup_timeout: float = 300.0

    def hardware(self, released_model: GPT | None = None) -> Hardware:
        return detect_hardware(released_model)

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        sources: tuple[ParameterSource, ...],
        checkpoint: Checkpoint[Tensor],
        report: Reporter,
    ) -> GPT:
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
            own = _load_shard(parallelize(shard, peers, TorchrunGPT), shard, checkpoint, placement, report)
            own.communicator = peers
            with translate_errors():
                _barrier(peers)
            peers.set_timeout(self.startup_timeout)
            return own
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
            pool.communicator = group
            if group.can_reconnect:
                pool.reconnect = lambda attempt: _reconnect(group, store, attempt)
            model = _load_shard(
                parallelize(shard, StepCommunicator(group, pool), Rank0GPT),
                shard,
                checkpoint,
                placement,
                report,
            )
            model.pool, model.communicator = pool, group
            pool.run_collective(lambda: _barrier(group))
            threads = torch.get_num_threads()
            if model.input_device.type == "cpu":
                torch.set_num_threads(threads_per_rank(ranks))  # the ranks share the cores
        except BaseException:
            _shut_down(pool, folder)
            raise
        model.shut_down = weakref.finalize(model, _shut_down, pool, folder, threads)
        return model

    def release(self, model: GPT) -> None:
        if isinstance(model, Rank0GPT):
            model.shut_down()

    @contextmanager
    def weights(self, model: GPT, sources: Sequence[ParameterSource]) -> Iterator[ModelExporter | None]:
        """Yield an exporter that gathers the current weights when they are read; None on ranks above 0.

        Raises:
            UnsupportedOperation: The weights are quantized, or rank 0 failed to write them.
            WorkerLost: A rank is gone.
        """
        if quantized_layers(model):
            reason = (
                "each rank has quantized its shard with its own scales. Place the model on one device with "
                "the same quantize= and save it from there."
            )
            raise UnsupportedOperation("Saving a quantized tensor-parallel model", reason)
        parameters = tuple(source.parameter for source in sources)
        if isinstance(model, Rank0GPT):
            yield ModelExporter.from_model(model, sources, read_full=lazy_gather(parameters, model.gather))
            return
        assert isinstance(model, TorchrunGPT)  # noqa: S101 - `build` returns no other class
        with gather_from_torchrun(model, parameters) as read_full:
            yield None if read_full is None else ModelExporter.from_model(model, sources, read_full=read_full)

    def generator(self, model: GPT, placement: Placement) -> TorchGenerator:
        return TorchGenerator(model, placement.kv_cache_size)


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
    return CommandExecutor(model, group, lambda attempt: _reconnect(group, store, attempt))


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
