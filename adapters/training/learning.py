"""What the Lightning Trainer trains: a model, its optimiser, and what is counted."""

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import lightning as L  # noqa: N812 - as everybody calls it
import torch
from torch import Tensor, nn

from litgpt.adapters.training.trainer_checkpoint import check_weights
from litgpt.domain.training.recipe import Recipe

MODEL = "llm"
"""What the model is called in a checkpoint's tensors, as in the documentation's own module."""

_IGNORED = -100
_BETAS = (0.9, 0.95)


@attrs.define
class Counted:
    """What goes through a model.

    Attributes:
        lost: What it cost, added up over the tokens that are learnt.
        learnt: How many these are.
        seen: How many tokens there are, those that are not learnt and padding among them.

    """

    lost: float = 0.0
    learnt: int = 0
    seen: int = 0


class Learning(L.LightningModule):
    """A model in training.

    Args:
        model: It.
        recipe: How it is trained.
        prepare: Gives it its weights, and divides them among a mesh of processes if it gets one.

    Attributes:
        counted: What has gone through since the last optimiser step.
        norm: How long the gradients of the last step were.
        rate: The learning rate that it had.

    """

    def __init__(self, model: nn.Module, recipe: Recipe, *, prepare: Callable[[Any], None]) -> None:
        super().__init__()
        self.llm = model
        self._recipe, self._prepare, self._ready = recipe, prepare, False
        self.counted, self.norm, self.rate = Counted(), 0.0, 0.0

    @property
    def strict_loading(self) -> bool:
        """Whether checkpoints hold the whole model."""
        return not self._recipe.adapts

    @strict_loading.setter
    def strict_loading(self, value: bool) -> None:
        raise AttributeError(value)

    @property
    def steps(self) -> int:
        """How many optimiser steps there will be.

        Lightning's own estimate sets up the data, and a checkpoint's place in them is lost by that.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined] # a Trainer has one
        return self._recipe.steps(data.batches_in_epoch())

    def configure_model(self) -> None:
        """Prepare the model, once: Lightning asks again before it validates."""
        if not self._ready:
            self._prepare(self.device_mesh["data_parallel"] if self.device_mesh is not None else None)
            self._ready = True

    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        """Return what was lost on a batch."""
        loss = self._loss(batch)
        count = learnt(batch["labels"])
        self.counted.lost += float(loss.detach()) * count
        self.counted.learnt += count
        self.counted.seen += batch["input_ids"].numel()
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
        learns = [one for one in self.parameters() if one.requires_grad]
        shrinks = [one for one in learns if one.dim() > 1]
        others = [one for one in learns if one.dim() <= 1]
        groups = [
            {"params": params, "weight_decay": decay}
            for params, decay in ((shrinks, self._recipe.weight_decay), (others, 0.0))
            if params
        ]
        # A fused one would be handed gradients that are still scaled, and they would be measured so.
        fused = self._recipe.precision != "16-mixed"
        optimizer = torch.optim.AdamW(groups, lr=self._recipe.rate, betas=_BETAS, fused=fused)
        share = self._recipe.schedule(self.steps)
        # A function, of which a checkpoint keeps nothing: the recipe says how the rate changes.
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share(step))  # noqa: PLW0108 - as said
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Shorten gradients that are too long, and take note of how long they were."""
        parameters = [one for group in optimizer.param_groups for one in group["params"]]
        longest = float("inf") if self._recipe.max_norm is None else self._recipe.max_norm
        norm: Any = nn.utils.clip_grad_norm_(parameters, longest)
        self.norm = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

    def optimizer_step(self, *args: Any, **how: Any) -> None:
        """Step, and let go of the gradients at once: Lightning would keep them through the next forward."""
        optimizer = args[2] if len(args) > 2 else how["optimizer"]
        self.rate = optimizer.param_groups[0]["lr"]
        super().optimizer_step(*args, **how)
        optimizer.zero_grad()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out what did not learn, and say where the rest comes from."""
        checkpoint["litgpt"] = {"recipe": attrs.asdict(self._recipe)}
        if self._recipe.adapts:
            kept = set(self.learnt_names())
            state = checkpoint["state_dict"]
            checkpoint["state_dict"] = {name: value for name, value in state.items() if name in kept}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that a checkpoint is of this model, before anything of it is taken over.

        Raises:
            NotOfThisModel: It is not; the error lists every tensor that differs.

        """
        wanted = self.state_dict()
        if self._recipe.adapts:
            wanted = {name: wanted[name] for name in self.learnt_names()}
        if state := checkpoint.get("state_dict"):  # of sharded ones, torch checks the tensors
            check_weights(state, wanted, origin="The checkpoint", name=self._recipe.model)

    def learnt_names(self) -> Iterator[str]:
        """Yield the names of what learns, as a state dict has them."""
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                yield name.replace(f"{MODEL}.model.", f"{MODEL}.", 1)


def learnt(labels: Tensor) -> int:
    """Return how many tokens of (B, T) are learnt: the first of each row follows nothing."""
    return int((labels[:, 1:] != _IGNORED).sum())
