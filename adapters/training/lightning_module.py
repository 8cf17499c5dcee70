"""What the Lightning Trainer trains: a model, its optimizer, and what is counted."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import attrs
import lightning as L  # noqa: N812 - as everybody calls it
import torch
from torch import Tensor, nn

from litgpt.adapters.training.trainer_checkpoint import check_weights
from litgpt.domain.training.config import TrainConfig

MODEL_ATTRIBUTE = "llm"
"""What the model is called in a checkpoint's tensors, as in the documentation's own module."""

_IGNORE_INDEX = -100
_BETAS = (0.9, 0.95)
_EPSILON = 1e-6
"""As in torch.nn.utils.clip_grad_norm_."""


@attrs.define
class TokenCounts:
    """Sums over the tokens of some batches.

    Attributes:
        loss_sum: The summed cross-entropy of all targets, in nats.
        target_tokens: The number of targets.
        tokens: The number of tokens in the batches, with those that are not targets and padding.

    """

    loss_sum: float = 0.0
    target_tokens: int = 0
    tokens: int = 0

    def add(self, loss: Tensor, batch: dict[str, Tensor]) -> None:
        """Add a batch.

        Args:
            loss: The summed cross-entropy of its targets.
            batch: `input_ids` and `labels`, each (B, T).

        """
        self.loss_sum += float(loss.detach())
        self.target_tokens += count_targets(batch["labels"])
        self.tokens += batch["input_ids"].numel()

    @property
    def mean_loss(self) -> float:
        """The mean loss of a target; 0 if there are none."""
        return self.loss_sum / max(1, self.target_tokens)

    def all_reduce(self, trainer: L.Trainer) -> "TokenCounts":
        """Return the sums over all processes, each of which calls this."""
        if trainer.world_size == 1:
            return self
        own = torch.tensor(attrs.astuple(self), dtype=torch.float64, device=trainer.strategy.root_device)
        loss, targets, tokens = trainer.strategy.reduce(own, reduce_op="sum").tolist()
        return TokenCounts(loss, int(targets), int(tokens))


class CollectsRouterLogits(Protocol):
    """Collects the logits of a model's routers while tokens go through it."""

    def watch(self, model: nn.Module) -> None:
        """Collect those of this model."""

    def start(self) -> None:
        """Begin to collect."""

    def loss(self, mask: Tensor) -> Tensor:
        """Return the load-balancing loss over the tokens of a mask (N,)."""


class LitModel(L.LightningModule):
    """A model in training.

    Each target token of an optimizer step has the same weight in its gradient, however the tokens are divided
    into micro-batches and over processes: micro-batches add up the gradients of summed losses, and the step
    divides by the number of targets in all of them, as transformers' Trainer does (`num_items_in_batch`).

    Args:
        model: It.
        recipe: How it is trained.
        prepare: Gives it its weights, and divides them among a mesh of processes if it gets one.
        routers: Collects the logits of its routers, for the load-balancing loss; None adds no such loss.
        router_weight: What that loss is multiplied by (`router_aux_loss_coef`).

    Attributes:
        step_sums: The sums over the last optimizer step, of all its micro-batches and processes.
        val_loss: The mean loss of a target in the last validation; None before the first.
        grad_norm: How long the gradients of the last step were.
        learning_rate: The learning rate that it had.

    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainConfig,
        *,
        prepare: Callable[[Any], None],
        routers: CollectsRouterLogits | None = None,
        router_loss_coefficient: float = 0.0,
    ) -> None:
        super().__init__()
        self._routers, self._router_weight = routers, router_loss_coefficient
        self.llm = model
        self._config, self._prepare, self._ready = config, prepare, False
        self.step_sums, self.grad_norm, self.learning_rate = TokenCounts(), 0.0, 0.0
        self.val_loss: float | None = None
        self._micro_sums, self._val_sums = TokenCounts(), TokenCounts()
        self._divisor: float | None = None

    @property
    def strict_loading(self) -> bool:
        """Whether checkpoints hold the whole model."""
        return not self._config.uses_lora

    @strict_loading.setter
    def strict_loading(self, value: bool) -> None:
        raise AttributeError(value)

    @property
    def num_steps(self) -> int:
        """How many optimizer steps there will be.

        Lightning's own estimate sets up the data, and a checkpoint's place in them is lost by that.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined] # a Trainer has one
        return self._config.num_steps(data.batches_in_epoch())

    def configure_model(self) -> None:
        """Prepare the model, once: Lightning asks again before it validates."""
        if not self._ready:
            self._prepare(self.device_mesh["data_parallel"] if self.device_mesh is not None else None)
            self._ready = True
            if self._routers is not None:
                self._routers.watch(self.llm)

    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the summed loss of a micro-batch, divided by what all micro-batches of the step share."""
        if self._routers is not None:
            self._routers.start()
        loss = self._loss(batch)
        self._micro_sums.add(loss, batch)
        if self._routers is not None:
            # A mean over tokens, so it weighs as many targets as the micro-batch has.
            balancing = self._routers.loss(_padding_mask(batch["labels"]).flatten())
            loss = loss + balancing * (self._router_weight * count_targets(batch["labels"]))
        if self._divisor is None:
            # Any number would do, as the step replaces it by the number of all targets. This one keeps
            # gradients in the range of those of a mean, which float16 needs.
            first = self._micro_sums.all_reduce(self.trainer)
            self._divisor = max(1.0, first.target_tokens / self.trainer.world_size)
        # Lightning divides by the number of micro-batches.
        return loss * (self.trainer.accumulate_grad_batches / self._divisor)

    def on_train_batch_end(self, *_: Any) -> None:
        """Let the last step be followed by a validation, wherever in an epoch it is."""
        if self.trainer.global_step >= self.num_steps:
            self.trainer.should_stop = True  # upon which Lightning validates, unless it just has

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add up the loss on a batch."""
        if repeated := self._num_repeated(batch_idx, len(batch["labels"])):
            labels = batch["labels"].clone()
            labels[-repeated:] = _IGNORE_INDEX
            batch = {**batch, "labels": labels}
        self._val_sums.add(self._loss(batch), batch)

    def on_validation_epoch_end(self) -> None:
        """Take the mean over all targets of the validation data."""
        sums, self._val_sums = self._val_sums.all_reduce(self.trainer), TokenCounts()
        self.val_loss = sums.mean_loss

    def _num_repeated(self, batch_idx: int, rows: int) -> int:
        """Return how many of a validation batch's last rows are repeats of other examples.

        Where examples cannot be dealt out evenly among processes, Lightning's sampler repeats the first ones.
        """
        if self.trainer.world_size == 1:
            return 0
        loader: Any = self.trainer.val_dataloaders
        own: int = math.ceil((len(loader.dataset) - self.trainer.global_rank) / self.trainer.world_size)
        first: int = batch_idx * loader.batch_size
        return min(rows, max(0, first + rows - own))

    def _loss(self, batch: dict[str, Tensor]) -> Tensor:
        model: Any = self.llm
        loss: Tensor = model.loss(batch["input_ids"], batch["labels"], reduction="sum")
        return loss

    def configure_optimizers(self) -> Any:
        """Return AdamW and its schedule, by step."""
        learns = [one for one in self.parameters() if one.requires_grad]
        shrinks = [one for one in learns if one.dim() > 1]
        others = [one for one in learns if one.dim() <= 1]
        groups = [
            {"params": params, "weight_decay": decay}
            for params, decay in ((shrinks, self._config.weight_decay), (others, 0.0))
            if params
        ]
        # A fused one would be handed gradients that are still scaled, and they would be measured so.
        fused = self._config.precision != "16-mixed"
        optimizer = torch.optim.AdamW(groups, lr=self._config.peak_learning_rate, betas=_BETAS, fused=fused)
        share = self._config.lr_schedule(self.num_steps)
        # A function, of which a checkpoint keeps nothing: the recipe says how the rate changes.
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share(step))  # noqa: PLW0108 - as said
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Divide gradients by the number of targets of the step, and shorten them if they are too long."""
        self.step_sums, self._micro_sums = self._micro_sums.all_reduce(self.trainer), TokenCounts()
        assert self._divisor is not None  # noqa: S101 - there has been a micro-batch
        # Strategies take the mean over processes; the sum is wanted.
        weight = self._divisor * self.trainer.world_size / max(1, self.step_sums.target_tokens)
        self._divisor = None
        parameters = [one for group in optimizer.param_groups for one in group["params"]]
        gradients = [one.grad for one in parameters if one.grad is not None]
        norm: Any = nn.utils.get_total_norm(gradients)
        self.grad_norm = weight * float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
        if self._config.max_norm is not None:
            weight *= min(1.0, self._config.max_norm / (self.grad_norm + _EPSILON))
        for gradient in gradients:
            gradient.mul_(weight)

    def optimizer_step(self, *args: Any, **how: Any) -> None:
        """Step, and let go of the gradients at once: Lightning would keep them through the next forward."""
        optimizer = args[2] if len(args) > 2 else how["optimizer"]
        self.learning_rate = optimizer.param_groups[0]["lr"]
        super().optimizer_step(*args, **how)
        optimizer.zero_grad()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out what did not learn, and say where the rest comes from."""
        checkpoint["litgpt"] = {"recipe": attrs.asdict(self._config)}
        if self._config.uses_lora:
            kept = set(self.trainable_names())
            state = checkpoint["state_dict"]
            checkpoint["state_dict"] = {name: value for name, value in state.items() if name in kept}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that a checkpoint is of this model, before anything of it is taken over.

        Raises:
            TrainerCheckpointMismatch: It is not; the error lists every tensor that differs.

        """
        wanted = self.state_dict()
        if self._config.uses_lora:
            wanted = {name: wanted[name] for name in self.trainable_names()}
        if state := checkpoint.get("state_dict"):  # of sharded ones, torch checks the tensors
            check_weights(state, wanted, origin="The checkpoint", name=self._config.model)

    def trainable_names(self) -> Iterator[str]:
        """Yield the names of what learns, as a state dict has them."""
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                yield name.replace(f"{MODEL_ATTRIBUTE}.model.", f"{MODEL_ATTRIBUTE}.", 1)


def _padding_mask(labels: Tensor) -> Tensor:
    """Return which tokens (B, T) are not padding: examples end with a target, and are padded on the right."""
    return (labels != _IGNORE_INDEX).long().flip(-1).cummax(-1).values.flip(-1)


def count_targets(labels: Tensor) -> int:
    """Return the number of targets in labels (B, T): the first token of each row follows nothing."""
    return int((labels[:, 1:] != _IGNORE_INDEX).sum())
