"""The FSDP2 strategy, with atomic sharded checkpoints."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from litgpt.adapters.training.checkpointing import delete_checkpoint
from litgpt.adapters.training.sharded_checkpoint_reader import (
    SafeReader,
    read_into,
    read_plain_values,
    read_shapes,
)
from litgpt.application.files.atomic_write import (
    exchange,
    partial_name,
    staging_folder,
    sync_folder,
    sync_tree,
)


class FSDPStrategy(ModelParallelStrategy):
    """FSDP2 with atomic checkpoints, which restore the optimizer as well; see `AtomicCheckpointIO`."""

    failure: str | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Write this process's shard of a checkpoint; the folder is renamed when all shards are complete."""
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
            self.failure = next((failure for failure in failures if failure), None)
            if self.is_global_zero and self.failure is None:
                try:
                    self._put_in_place(staged, path)
                except OSError as error:
                    self.failure = _failure_cause(error)

    def _put_in_place(self, staged: Path, path: Path) -> None:
        sync_tree(staged)
        if not exchange(staged, path):
            delete_checkpoint(path)  # exists already, and the system cannot exchange two names
            staged.rename(path)
        sync_folder(path.parent)

    def load_checkpoint(
        self,
        checkpoint_path: Any,
        weights_only: bool | None = None,  # noqa: FBT001 - Lightning's signature
    ) -> dict[str, Any]:
        """Load this process's shard of the weights and moments, and return the remaining values.

        If the tensors do not match the model, nothing is changed.
        """
        path = Path(self.broadcast(checkpoint_path))
        if path.is_file():
            return super().load_checkpoint(path, weights_only=True)
        del weights_only
        module, model, reader = self.lightning_module, self.model, SafeReader(path)
        assert module is not None  # noqa: S101 - set before Lightning loads a checkpoint
        assert model is not None  # noqa: S101
        shapes, values = read_shapes(reader), read_plain_values(path)
        module.on_load_checkpoint({"state_dict": shapes})
        weights = {name: value for name, value in get_model_state_dict(model).items() if name in shapes}
        read_into({"state_dict": weights}, reader)
        module.load_state_dict(weights, strict=module.strict_loading)
        for index, optimizer in enumerate(self.optimizers):
            moments = self.optimizer_state(optimizer)
            read_into({f"optimizer_{index}": {"state": moments["state"]}}, reader)
            set_optimizer_state_dict(model, optimizer, optim_state_dict=moments)
        return values

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Return the optimizer state by the parameter names of the checkpoint.

        torch returns it by module path, but expects the names of the state dict when it loads it.
        """
        model = self.model
        assert model is not None  # noqa: S101 - set before the optimizer
        inner = optimizer._optimizer if isinstance(optimizer, LightningOptimizer) else optimizer  # noqa: SLF001 - as Lightning does
        optimizer_state: dict[str, Any] = get_optimizer_state_dict(model, inner)
        names = _state_dict_names(model)
        state = {names.get(name, name): value for name, value in optimizer_state["state"].items()}
        groups = [
            {**group, "params": [names.get(name, name) for name in group["params"]]}
            for group in optimizer_state["param_groups"]
        ]
        return {"state": state, "param_groups": groups}


def gather_full_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Return the full weights on the CPU of process 0, and {} on the others; all must call this."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(model, options=options)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _state_dict_names(model: nn.Module) -> dict[str, str]:
    """Return the state dict name of each parameter, by module path."""
    names = {id(value): name for name, value in model.state_dict(keep_vars=True).items()}
    return {path: names.get(id(parameter), path) for path, parameter in model.named_parameters()}


def _failure_cause(error: BaseException) -> str:
    """Return a short cause; for an error of several processes, the cause of the first."""
    failures = getattr(error, "failures", None)
    if isinstance(failures, Mapping) and failures:
        first = next(iter(failures.values()))
        error = first[0] if isinstance(first, tuple) else first
    cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(cause).strip().splitlines()[0].lower()
