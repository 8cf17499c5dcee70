"""FSDP2, whose checkpoints are folders with a part from each process."""

import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load

from litgpt.adapters.training.learning import Learning, saved_name
from litgpt.adapters.training.sharded_checkpoint import CarefulReader, read_plain
from litgpt.adapters.training.trainer_checkpoint import check_weights
from litgpt.domain.errors import DamagedFile

COMING = ".coming"


class Divided(ModelParallelStrategy):
    """Each process keeps a part of each weight, and writes and reads that.

    Args:
        processes: How many.
        backend: What they talk by; None: what suits the devices.

    Attributes:
        failure: What went wrong the last time that a checkpoint was written; None: nothing.

    """

    failure: str | None = None

    def __init__(self, processes: int, backend: str | None) -> None:
        super().__init__(processes, 1, save_distributed_checkpoint=True, process_group_backend=backend)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Write one, under another name first; a failure is kept, the same in all processes."""
        path = Path(self.broadcast(filepath))
        coming = path.with_name(path.name + COMING)
        failure = None
        try:
            super().save_checkpoint(checkpoint, coming, storage_options)
            if self.is_global_zero:
                _replace(coming, path)
        except (OSError, RuntimeError, CheckpointException) as error:
            failure = reason(error)
        self.failure = self.broadcast(failure)
        if self.failure is not None and self.is_global_zero:
            shutil.rmtree(coming, ignore_errors=True)

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Return what an optimiser knows, by the names that the model's state dict has.

        torch returns it by those of the parameters, but takes it by these only.
        """
        found = super().optimizer_state(optimizer)
        state = {saved_name(name): value for name, value in found["state"].items()}
        groups = [
            {**group, "params": [saved_name(name) for name in group["params"]]}
            for group in found["param_groups"]
        ]
        return {**found, "state": state, "param_groups": groups}

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:  # noqa: FBT001 - Lightning's signature
        """Read the parts of one into the model and its optimiser, and return the plain values of it.

        Raises:
            NotOfThisModel: It is of another model, or of another method.
            UnsafeFile: It holds objects whose making could run code.
            DamagedFile: A file of it is missing or cut short.

        """
        del weights_only
        path = Path(self.broadcast(checkpoint_path))
        plain, reader, module = read_plain(path), CarefulReader(path), self.lightning_module
        assert isinstance(module, Learning)  # noqa: S101 - who made the trainer
        options = StateDictOptions(cpu_offload=True, strict=module.strict_loading)
        state = get_model_state_dict(module, options=options)
        if not module.strict_loading:
            kept = set(module.learnt_names())
            state = {name: value for name, value in state.items() if name in kept}
        check_weights(reader.shapes(), _empty(state), origin=str(path), name=module.model_name)
        try:
            load({"state_dict": state}, storage_reader=reader)
            set_model_state_dict(module, state, options=options)
            for number, optimizer in enumerate(self.optimizers):
                name = f"optimizer_{number}"
                read = {name: self.optimizer_state(optimizer)}
                load(read, storage_reader=reader)  # what is no tensor is put into `read` anew
                set_optimizer_state_dict(module, optimizer, optim_state_dict=read[name], options=options)
        except CheckpointException as error:
            raise DamagedFile(str(path), f"a part of it cannot be read ({reason(error)}).") from error
        return plain


def reason(error: BaseException) -> str:
    """Say in a few words why something could not be written or read."""
    if isinstance(error, CheckpointException):
        error = next(iter(error.failures.values()))[0]
    # torch's writer raises a RuntimeError of its own while it handles that of a disk which is full.
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    return ((getattr(cause, "strerror", None) or str(error)).splitlines() or ["it failed"])[0].lower()


def _replace(coming: Path, path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    coming.rename(path)


def _empty(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.empty(value.shape, device="meta") for name, value in state.items()}
