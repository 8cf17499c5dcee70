"""Training with weights and moments divided among processes, from checkpoints that are divided as well."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from litgpt.adapters.training.checkpointing import delete_checkpoint
from litgpt.adapters.training.dcp_checkpoint import SafeReader, read_into, read_plain_values, read_shapes
from litgpt.application.files.atomic_write import (
    exchange,
    partial_name,
    staging_folder,
    sync_folder,
    sync_tree,
)


class FSDPStrategy(ModelParallelStrategy):
    """FSDP2, with checkpoints that are whole or not there, and from which everything comes back.

    Attributes:
        failure: What went wrong when the last checkpoint was written, as the first process knows it; None:
            nothing.

    """

    failure: str | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Write this process's part of a checkpoint. The folder gets its name once all parts are there."""
        path = Path(self.broadcast(filepath))
        staged = path.with_name(self.broadcast(partial_name()))
        failure = None
        with ExitStack() as stack:
            try:
                if self.is_global_zero:
                    stack.enter_context(staging_folder(staged))
                super().save_checkpoint(checkpoint, staged, storage_options)
            except (CheckpointException, OSError, RuntimeError) as error:
                failure = _failure_cause(error)
            failures: list[str | None] = [None] * self.world_size
            torch.distributed.all_gather_object(failures, failure)
            self.failure = next((one for one in failures if one), None)
            if self.is_global_zero and self.failure is None:
                try:
                    self._put_in_place(staged, path)
                except OSError as error:
                    self.failure = _failure_cause(error)

    def _put_in_place(self, staged: Path, path: Path) -> None:
        """Give a complete checkpoint its name."""
        sync_tree(staged)
        if not exchange(staged, path):
            delete_checkpoint(path)  # it is there already, and this system cannot exchange two names
            staged.rename(path)
        sync_folder(path.parent)

    def load_checkpoint(
        self,
        checkpoint_path: Any,
        weights_only: bool | None = None,  # noqa: FBT001 - Lightning's signature
    ) -> dict[str, Any]:
        """Read this process's part of weights and moments, and return the rest.

        Raises:
            TrainerCheckpointMismatch: The checkpoint has other tensors than it should; nothing is changed.
            InvalidCheckpoint: It cannot be read.

        """
        path = Path(self.broadcast(checkpoint_path))
        if path.is_file():
            return super().load_checkpoint(path, weights_only=True)
        del weights_only
        module, model, reader = self.lightning_module, self.model, SafeReader(path)
        assert module is not None  # noqa: S101 - Lightning asks once there are both
        assert model is not None  # noqa: S101
        there, rest = read_shapes(reader), read_plain_values(path)
        module.on_load_checkpoint({"state_dict": there})
        weights = {name: one for name, one in get_model_state_dict(model).items() if name in there}
        read_into({"state_dict": weights}, reader)
        module.load_state_dict(weights, strict=module.strict_loading)
        for number, optimizer in enumerate(self.optimizers):
            moments = self.optimizer_state(optimizer)
            read_into({f"optimizer_{number}": {"state": moments["state"]}}, reader)
            rates = rest["lr_schedulers"][number]["_last_lr"]
            for group, rate in zip(moments["param_groups"], rates, strict=True):
                group["lr"] = rate
            set_optimizer_state_dict(model, optimizer, optim_state_dict=moments)
        return rest

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Return the moments by the names that their weights have in a checkpoint.

        torch names them by where the weights are, and then asks for the other names when it takes them back.
        """
        model = self.model
        assert model is not None  # noqa: S101 - it has an optimizer
        inner = optimizer._optimizer if isinstance(optimizer, LightningOptimizer) else optimizer  # noqa: SLF001 - as Lightning does
        found: dict[str, Any] = get_optimizer_state_dict(model, inner)
        called = _names(model)
        state = {called.get(name, name): one for name, one in found["state"].items()}
        groups = [
            {**group, "params": [called.get(name, name) for name in group["params"]]}
            for group in found["param_groups"]
        ]
        return {"state": state, "param_groups": groups}


def _names(model: nn.Module) -> dict[str, str]:
    """Return what each parameter is called in a state dict, by where it is."""
    called = {id(one): name for name, one in model.state_dict(keep_vars=True).items()}
    return {name: called.get(id(one), name) for name, one in model.named_parameters()}


def _failure_cause(error: BaseException) -> str:
    """Return what a process met with, of an error that tells of all processes, as a few words."""
    failures = getattr(error, "failures", None)
    if isinstance(failures, Mapping) and failures:
        first = next(iter(failures.values()))
        error = first[0] if isinstance(first, tuple) else first
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(said).strip().splitlines()[0].lower()
