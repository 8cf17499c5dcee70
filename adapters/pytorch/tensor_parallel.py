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

from litgpt.adapters.pytorch.assemble import GPTT, fill
from litgpt.adapters.pytorch.generator import TorchGenerator
from litgpt.adapters.pytorch.gpt import GPT
from litgpt.adapters.pytorch.hardware import hardware
from litgpt.adapters.pytorch.parallel.commands import Commands
from litgpt.adapters.pytorch.parallel.crew import Crew
from litgpt.adapters.pytorch.parallel.driven import DrivenGPT, GroupInStep
from litgpt.adapters.pytorch.parallel.gathering import gathered_from_given, one_at_a_time
from litgpt.adapters.pytorch.parallel.given import GivenGPT, in_our_words, meet
from litgpt.adapters.pytorch.parallel.group import Group, ProcessGroup, gloo
from litgpt.adapters.pytorch.parallel.sharded import sharded
from litgpt.adapters.pytorch.parallel.workers import threads_each
from litgpt.adapters.pytorch.quantised.choosing import quantised_layers
from litgpt.adapters.pytorch.weights import ModelWeights
from litgpt.domain.architecture import Architecture
from litgpt.domain.errors import OutOfReach
from litgpt.domain.placement import Hardware, Placement
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.reporting import Report, silent
from litgpt.domain.sharding import Share, share
from litgpt.domain.weights import Join

# How long a rank waits for the others while they start and, under torchrun, read their weights.
_PATIENCE = 600.0


@attrs.frozen
class TensorParallel:
    """Several ranks, each with a part of every layer.

    The caller's process is the first, and starts the others; or it is one of those that torchrun has started.

    Attributes:
        deadline: Seconds that ranks which were started from outside wait for each other within a step. Nobody
            watches them.

    """

    deadline: float = 300.0

    def hardware(self, replaced: GPT | None = None) -> Hardware:
        """Return what this machine has, the memory of a model that is about to be released included."""
        return hardware(replaced)

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        joins: tuple[Join, ...],
        checkpoint: Checkpoint[Tensor],
        report: Report,
    ) -> GPT:
        """Start the other ranks, and read this rank's part of each tensor.

        Raises:
            OutOfReach: The model cannot be split so, or nothing opens it in another process.
            WorkerLost: Another rank does not start.

        """
        ranks = len(placement.devices)
        mine = share(architecture, joins, ranks=ranks, rank=placement.given or 0)  # refuses what cannot be
        if placement.given is not None:
            with in_our_words():
                meeting = _group(meet(_PATIENCE), placement, rank=placement.given, local=False)
            given = _filled(sharded(mine, meeting, GivenGPT), mine, checkpoint, placement, report)
            given.group, given.whole = meeting, architecture
            with in_our_words():
                _all_ready(meeting)
            meeting.wait_at_most(self.deadline)
            return given
        where = checkpoint.path
        if where is None:
            raise OutOfReach(
                "generate_strategy='tensor_parallel'",
                f"{checkpoint.origin} is in this process alone, and no other can open it. Save it first.",
            )
        folder = _private_folder()
        try:
            store = FileStore(str(folder / "store"), -1)
            crew = Crew(
                {
                    "folder": str(folder),
                    "model": str(where),
                    "name": checkpoint.name,
                    "tied": architecture.tied,
                    "placement": attrs.asdict(placement),
                },
                ranks=ranks,
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        try:
            group = crew.wait_for(lambda: _group(store, placement, rank=0, local=True))
            crew.group = group
            if group.can_rejoin:
                crew.rejoin = lambda number: _rejoin(group, store, number)
            model = _filled(
                sharded(mine, GroupInStep(group, crew), DrivenGPT), mine, checkpoint, placement, report
            )
            model.crew, model.group, model.whole = crew, group, architecture
            crew.wait_for(lambda: _all_ready(group))
            threads = torch.get_num_threads()
            if model.input_device.type == "cpu":
                torch.set_num_threads(threads_each(ranks))  # the cores are for all ranks
        except BaseException:
            _end(crew, folder)
            raise
        model.end = weakref.finalize(model, _end, crew, folder, threads)
        return model

    def release(self, model: GPT) -> None:
        """End the other ranks."""
        if isinstance(model, DrivenGPT):
            model.end()

    @contextmanager
    def weights(self, model: GPT, joins: Sequence[Join]) -> Iterator[ModelWeights | None]:
        """Give what a model's weights are now, gathered as they are read; None where another rank writes.

        Raises:
            OutOfReach: They are quantised, or the rank that writes cannot.
            WorkerLost: A rank is gone.

        """
        if quantised_layers(model):
            reason = (
                "each rank has quantised its own part, by scales of its own. Place it on one device with the "
                "same quantize=, and save that."
            )
            raise OutOfReach("Saving a quantised model that is split over ranks", reason)
        ours = tuple(join.parameter for join in joins)
        if isinstance(model, DrivenGPT):
            yield ModelWeights.of(model, joins, gathered=one_at_a_time(ours, model.gathered))
            return
        assert isinstance(model, GivenGPT)  # noqa: S101 - there is no other that this builds
        with gathered_from_given(model, ours) as gathered:
            yield None if gathered is None else ModelWeights.of(model, joins, gathered=gathered)

    def generator(self, model: GPT, placement: Placement) -> TorchGenerator:
        """Return what generates with `model`."""
        return TorchGenerator(model, placement.cache_size)


def _private_folder() -> Path:
    """Return a new folder that no other user of this machine can open, for the ranks to find each other in.

    Raises:
        OutOfReach: There is nowhere to make one.

    """
    try:
        return Path(tempfile.mkdtemp(prefix="litgpt-"))
    except OSError as error:
        reason = f"its processes need a temporary folder: {error}. Set TMPDIR to one that can be written to."
        raise OutOfReach("generate_strategy='tensor_parallel'", reason) from error


def _end(crew: Crew, folder: Path, threads: int | None = None) -> None:
    """End the other ranks, and give this one its cores back."""
    if os.getpid() != crew.caller:  # a fork of the caller, whose ranks they are not
        return
    crew.close()
    shutil.rmtree(folder, ignore_errors=True)
    if threads is not None:
        torch.set_num_threads(threads)


def build_rank(
    call: Mapping[str, Any],
    architecture: Architecture,
    joins: tuple[Join, ...],
    checkpoint: Checkpoint[Tensor],
) -> Commands:
    """Return what does a worker's part, once it has read its slices.

    Args:
        call: What the caller told the worker.
        architecture: Of the whole model.
        joins: What its parameters are read from.
        checkpoint: Where from.

    """
    if "OMP_NUM_THREADS" in os.environ:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    rank, ranks = call["rank"], call["ranks"]
    said = {**call["placement"], "devices": tuple(call["placement"]["devices"]), "given": rank}
    placement = Placement(**said)
    store = FileStore(str(Path(call["folder"]) / "store"), -1)
    group = _group(store, placement, rank=rank, local=True)
    mine = share(architecture, joins, ranks=ranks, rank=rank)
    model = _filled(sharded(mine, group, GPT), mine, checkpoint, placement, silent)
    _all_ready(group)
    return Commands(model, group, lambda number: _rejoin(group, store, number))


def _group(store: Store, placement: Placement, *, rank: int, local: bool) -> ProcessGroup:
    """Return the ranks of a placement, to talk as their devices can."""
    ranks = len(placement.devices)
    if placement.link == "nccl" and is_nccl_available():
        from litgpt.adapters.pytorch.parallel.nccl import nccl

        return nccl(store, rank=rank, ranks=ranks, patience=_PATIENCE, device=torch.device(placement.device))
    return gloo(store, rank=rank, ranks=ranks, patience=_PATIENCE, local=local)


def _rejoin(group: ProcessGroup, store: Store, number: int) -> None:
    """Make a group's connections anew, for the time with this number."""
    group.rejoin(PrefixStore(f"again/{number}", store), patience=_PATIENCE)


def _all_ready(group: Group) -> None:
    """Return when every rank has its weights."""
    group.sum(torch.zeros(1))


def _filled(
    model: GPTT, mine: Share, checkpoint: Checkpoint[Tensor], placement: Placement, report: Report
) -> GPTT:
    """Give a rank's network its weights."""
    device = torch.device(placement.device)
    try:
        return fill(
            model,
            mine.joins,
            checkpoint,
            device=lambda _: device,
            dtype=placement.dtype,
            report=report,
            zero=mine.zero,
            quantize=placement.quantize,
        )
    except torch.cuda.OutOfMemoryError as error:
        needed = mine.weight_bytes(dtype=placement.dtype, quantize=placement.quantize)
        raise OutOfReach(
            f"{checkpoint.name} on {placement.device}",
            f"its memory does not hold rank {mine.rank}'s {needed / 1e9:.1f} GB of weights. More devices, a "
            "smaller precision or quantize= make it less.",
        ) from error
