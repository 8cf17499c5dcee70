"""Training of an `LLM` with the Lightning Trainer or another loop: setup, forward pass and loss."""

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.validation.call_signatures import public_function
from litgpt.domain.validators import local_path
from litgpt.llm_parts.base import BaseLLM

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.device_mesh import DeviceMesh

    from litgpt.adapters.pytorch.model.gpt import GPT
    from litgpt.adapters.pytorch.model.loss import Reduction

# torch is imported inside functions: importing it takes seconds, and generation may not need it.

ADAPTER = re.compile(r"\.lora\.([^.]+)\.")


class TrainingMixin(BaseLLM):
    """Training: an LLM is a torch Module for optimizers, strategies and loops."""

    @public_function()
    def trainer_setup(self, trainer_ckpt: str | Path | None = None, *, quantize: str | None = None) -> None:
        """Prepare the model for training, in a LightningModule's `setup` or before another loop.

        The first call reads the weights, in torch's default dtype. Later calls, which Lightning makes before
        each `fit`, `validate` and `test`, keep the trained weights unless they pass a checkpoint other than
        the last one read. Weights that were loaded by `load_state_dict`, as in `load_from_checkpoint`, are
        kept by the first call too, whether or not it passes a checkpoint.

        Args:
            trainer_ckpt: A Trainer checkpoint (`.ckpt`), as one file or sharded by process, whose weights
                replace the weights of the model.
            quantize: Quantization of the projections, as in `distribute`. Quantized weights cannot be
                trained, but adapters on them can.

        Raises:
            TrainerCheckpointMismatch: The tensors of the checkpoint do not match the model.
            InvalidCheckpoint: The checkpoint cannot be read.
        """
        path = None if trainer_ckpt is None else Path(realpath(local_path("trainer_ckpt", trainer_ckpt)))
        with self._lock.changing("trainer_setup()"):
            self._load_for_training(path, quantize)

    def _load_for_training(self, path: Path | None, quantize: str | None) -> None:
        ready = self._is_trainable
        if ready and self._is_loaded:
            self._is_loaded, self._trainer_ckpt = False, path
        if ready and path in (None, self._trainer_ckpt):
            return
        from litgpt.adapters.pytorch.ops.dtypes import default_dtype
        from litgpt.adapters.training.checkpoint_reader import read_checkpoint, restore

        state: dict[str, Any] | None = None if path is None else read_checkpoint(path)["state_dict"]
        if self._is_loaded and self.model is not None:
            state = self.model.state_dict()
        loaded, placed = self._loaded, self._placed if ready else None
        if placed is None:
            self._release()  # two models at once might not fit
            place = self._services.place_model
            loaded, placed = place.for_training(loaded, default_dtype(), self._report, quantize=quantize)
        if state is not None:
            restore(
                placed.network, state, origin=str(path or "load_state_dict()"), name=loaded.checkpoint.name
            )
        if placed is not self._placed:
            self._place(loaded, placed)
        self._trainer_ckpt = path

    def shard(self, mesh: "DeviceMesh") -> None:
        """Shard the weights over the processes of a mesh (FSDP2), in `configure_model`.

            def configure_model(self):
                self.llm.trainer_setup()
                self.llm.shard(self.device_mesh["data_parallel"])

        Args:
            mesh: The processes, as a one-dimensional device mesh.

        Raises:
            NotDistributed: `trainer_setup` has not been called.
        """
        from litgpt.adapters.pytorch.training.fsdp import apply_fsdp

        with self._lock.changing("shard()"):
            if self.model is None:
                raise self._not_distributed()
            if not self.is_sharded:
                apply_fsdp(self.model, mesh)

    def forward(
        self,
        input_ids: "Tensor",
        target_ids: "Tensor | None" = None,
        loss_fn: "Callable[[Tensor, Tensor], Tensor] | None" = None,
    ) -> "Tensor | tuple[Tensor, Tensor]":
        """Return logits, and the loss if there are targets; `loss` alone needs less memory.

        Args:
            input_ids: (B, T).
            target_ids: (B, T), unshifted: the loss compares each token's logits with the next target. -100 is
                ignored.
            loss_fn: Takes logits (B, T - 1, V) and targets (B, T - 1); None: the cross-entropy.

        Returns:
            Logits (B, T, V), or the logits and the loss.

        Raises:
            NotDistributed: The model is not on a device yet.
            InvalidArgument: The shapes differ, all targets are ignored, an id is outside the vocabulary, or
                the sequence is longer than the context.
            UnsupportedOperation: Gradients are needed, and the model is split over ranks or memory is short.
        """
        from litgpt.adapters.pytorch.model.input_checks import check_ids, check_targets
        from litgpt.adapters.pytorch.model.loss import cross_entropy, shift_labels

        with self._using():
            model = self._check_inputs(input_ids)
            if target_ids is not None:
                check_targets(input_ids, target_ids)
                if loss_fn is None:
                    check_ids("target_ids", target_ids, model.architecture.vocab_size)
                model.require_trainable()
            logits: Tensor = model(input_ids)
            if target_ids is None:
                return logits
            if loss_fn is not None:
                return logits, loss_fn(logits[:, :-1], target_ids[:, 1:])
            return logits, cross_entropy(logits.flatten(0, 1), shift_labels(target_ids).flatten())

    def loss(self, input_ids: "Tensor", target_ids: "Tensor", reduction: "Reduction" = "mean") -> "Tensor":
        """Return the cross-entropy of the next tokens, without materializing all logits.

        Args:
            input_ids: (B, T).
            target_ids: (B, T), unshifted; -100 is ignored.
            reduction: `mean` over the targets that are not ignored, or their `sum`, which is 0 if all are
                ignored.

        Raises:
            NotDistributed: The model is not on a device yet.
            InvalidArgument: The shapes differ, all targets are ignored for a mean, an id is outside the
                vocabulary, or the sequence is longer than the context.
            UnsupportedOperation: Gradients are needed, and the model is split over ranks or memory is short.
        """
        from litgpt.adapters.pytorch.model.input_checks import check_ids, check_targets

        with self._using():
            model = self._check_inputs(input_ids)
            check_targets(input_ids, target_ids)
            check_ids("target_ids", target_ids, model.architecture.vocab_size)
            model.require_trainable()
            return model.loss(input_ids, target_ids, reduction)

    def _check_inputs(self, input_ids: "Tensor") -> "GPT":
        """Validate a batch of token ids and return the network."""
        from litgpt.adapters.pytorch.model.input_checks import check_ids, check_length, check_shape

        if self.model is None:
            raise self._not_distributed()
        check_shape("input_ids", input_ids)
        check_length(input_ids, self.model.architecture.context_length)
        check_ids("input_ids", input_ids, self.model.architecture.vocab_size)
        return self.model

    def _using(self) -> AbstractContextManager[None]:
        import torch

        from litgpt.adapters.pytorch.runtime.fork_guard import check_fork
        from litgpt.adapters.pytorch.runtime.out_of_memory import translate_out_of_memory

        if torch.compiler.is_compiling():  # a lock cannot be compiled
            return nullcontext()
        check_fork()
        return translate_out_of_memory("A forward pass", self._lock.using())

    def _check_unchanged(self) -> None:
        """Raise if reading the weights again would discard trained or loaded weights."""
        if self._is_trainable:
            reason = "what was trained would be lost. It generates as it is; or save() it, and load that."
            raise UnsupportedOperation(
                "distribute() after trainer_setup()", f"it would read the weights anew, and {reason}"
            )
        if self._is_loaded:
            reason = "the loaded weights would be lost. Call distribute() first, or save() and load that."
            raise UnsupportedOperation("distribute() after load_state_dict()", reason)

    def _load_adapter_weights(self, adapter: str) -> None:
        """Copy the weights that a checkpoint has for an adapter into it.

        Raises:
            TrainerCheckpointMismatch: The tensors of the checkpoint do not match the adapter.
        """
        found = _adapter_tensors(adapter, self._adapter_weights)
        if not found:
            return
        import torch

        from litgpt.adapters.training.checkpoint_reader import check_weights

        wanted = _adapter_tensors(adapter, self.state_dict())
        check_weights(found, wanted, origin="The checkpoint", name=f"the adapter {adapter!r}")
        with torch.no_grad():
            for name, tensor in found.items():
                wanted[name].copy_(tensor)
                del self._adapter_weights[name]


def _adapter_tensors(adapter: str, tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    return {
        name: tensor
        for name, tensor in tensors.items()
        if (match := ADAPTER.search(name)) and match[1] == adapter
    }
