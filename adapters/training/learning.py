"""What the Lightning Trainer trains: a model, its optimiser, and what is counted."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import lightning as L  # noqa: N812 - as everybody calls it
import torch
from torch import Tensor, nn

from litgpt.adapters.training.trainer_checkpoint import check_weights
from litgpt.domain.training.schedule import Schedule

MODEL = "llm"
"""What the model is called in a checkpoint's tensors, as in the documentation's own module."""

_IGNORED = -100
_BETAS = (0.9, 0.95)


class Learns(Protocol):
    """A model that says what it lost."""

    def loss(self, input_ids: Tensor, target_ids: Tensor) -> Tensor:
        """Return the mean cross-entropy of the next tokens."""
        ...


class Learning(L.LightningModule):
    """A model in training.

    Args:
        model: It.
        prepare: Gives it its weights, and divides them among a mesh of processes if it gets one.
        schedule: How the learning rate changes; it is asked once the number of steps is known.
        rate: The highest learning rate.
        weight_decay: How weights shrink; what has one dimension does not.
        max_norm: How long gradients may be; None is as they are.
        partly: Whether only a part of the model learns, and only that is in checkpoints.
        name: What to call the model in an error.
        notes: What a checkpoint is to say of where it comes from, as plain values.

    """

    def __init__(
        self,
        model: nn.Module,
        *,
        prepare: Callable[[Any], None],
        schedule: Callable[[int], Schedule],
        rate: float,
        weight_decay: float = 0.0,
        max_norm: float | None = None,
        partly: bool = False,
        name: str = "the model",
        notes: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.llm = model
        self._prepare, self._schedule = prepare, schedule
        self._rate, self._weight_decay, self._max_norm = rate, weight_decay, max_norm
        self._partly, self._name, self._notes = partly, name, notes or {}
        self._ready = False
        # Since the last optimiser step: what was lost, and over how many tokens.
        self.lost, self.tokens = 0.0, 0

    @property
    def strict_loading(self) -> bool:
        """Whether checkpoints hold the whole model."""
        return not self._partly

    @strict_loading.setter
    def strict_loading(self, value: bool) -> None:
        raise AttributeError(value)

    def configure_model(self) -> None:
        """Prepare the model, once: Lightning asks again before it validates."""
        if not self._ready:
            self._prepare(self.device_mesh["data_parallel"] if self.device_mesh is not None else None)
            self._ready = True

    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        """Return what was lost on a batch."""
        loss = self._loss(batch)
        count = learnt(batch["labels"])
        self.lost += float(loss.detach()) * count
        self.tokens += count
        return loss

    def validation_step(self, batch: dict[str, Tensor]) -> None:
        """Count what is lost on a batch, each token as much as any other."""
        self.log("val_loss", self._loss(batch), batch_size=learnt(batch["labels"]), sync_dist=True)

    def _loss(self, batch: dict[str, Tensor]) -> Tensor:
        model: Any = self.llm
        loss: Tensor = model.loss(batch["input_ids"], batch["labels"])
        return loss

    def configure_optimizers(self) -> Any:
        """Return AdamW and its schedule, by step."""
        shrinking, others = [], []
        for parameter in self.parameters():
            if parameter.requires_grad:
                (shrinking if parameter.dim() > 1 else others).append(parameter)
        groups = [
            {"params": params, "weight_decay": decay}
            for params, decay in ((shrinking, self._weight_decay), (others, 0.0))
            if params
        ]
        optimizer = torch.optim.AdamW(groups, lr=self._rate, betas=_BETAS, fused=True)
        schedule = self._schedule(int(self.trainer.estimated_stepping_batches))
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Shorten gradients that are too long, and take note of how long they were."""
        parameters = [one for group in optimizer.param_groups for one in group["params"]]
        longest = float("inf") if self._max_norm is None else self._max_norm
        norm: Any = nn.utils.clip_grad_norm_(parameters, longest)
        self.norm = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

    def optimizer_step(self, *args: Any, **how: Any) -> None:
        """Step, and let go of the gradients at once: Lightning would keep them through the next forward."""
        super().optimizer_step(*args, **how)
        optimizer = args[2] if len(args) > 2 else how["optimizer"]
        optimizer.zero_grad()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out what did not learn, and say where the rest comes from."""
        checkpoint["litgpt"] = self._notes
        if self._partly:
            kept = set(self.learnt_names())
            state = checkpoint["state_dict"]
            checkpoint["state_dict"] = {name: value for name, value in state.items() if name in kept}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that a checkpoint is of this model, before anything of it is taken over.

        Raises:
            NotOfThisModel: It is not; the error lists every tensor that differs.

        """
        wanted = self.state_dict()
        if self._partly:
            wanted = {name: wanted[name] for name in self.learnt_names()}
        if state := checkpoint.get("state_dict"):  # of sharded ones, torch checks the tensors
            check_weights(state, wanted, origin="The checkpoint", name=self._name)

    def learnt_names(self) -> Iterator[str]:
        """Yield the names of what learns, as a state dict has them."""
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                yield name.replace(f"{MODEL}.model.", f"{MODEL}.", 1)


def learnt(labels: Tensor) -> int:
    """Return how many tokens of (B, T) are learnt: the first of each row follows nothing."""
    return int((labels[:, 1:] != _IGNORED).sum())
