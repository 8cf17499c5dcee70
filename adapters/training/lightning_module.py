"""The LightningModule: model, optimizer, loss normalization and token counts."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import attrs
import lightning as L  # noqa: N812 - Lightning's convention
import torch
from torch import Tensor, nn

from litgpt.adapters.training.checkpoint_reader import check_weights
from litgpt.domain.training.config import TrainConfig

MODEL_ATTRIBUTE = "llm"
"""The prefix of the model's tensors in checkpoints, as in the documented LightningModule."""

_IGNORE_INDEX = -100
_BETAS = (0.9, 0.95)
_EPSILON = 1e-6
"""As in torch.nn.utils.clip_grad_norm_."""


@attrs.define
class TokenCounts:
    """Sums over some batches: the loss of all targets in nats, the targets, and all tokens."""

    loss_sum: float = 0.0
    target_tokens: int = 0
    tokens: int = 0

    def add(self, loss: Tensor, batch: dict[str, Tensor]) -> None:
        """Add a batch, whose entries are (B, T), and the summed cross-entropy of its targets."""
        self.loss_sum += float(loss.detach())
        self.target_tokens += count_targets(batch["labels"])
        self.tokens += batch["input_ids"].numel()

    @property
    def mean_loss(self) -> float:
        return self.loss_sum / max(1, self.target_tokens)

    def all_reduce(self, trainer: L.Trainer) -> "TokenCounts":
        """Return the sums over all processes, each of which calls this."""
        if trainer.world_size == 1:
            return self
        own = torch.tensor(attrs.astuple(self), dtype=torch.float64, device=trainer.strategy.root_device)
        loss, targets, tokens = trainer.strategy.reduce(own, reduce_op="sum").tolist()
        return TokenCounts(loss, int(targets), int(tokens))


class CollectsRouterLogits(Protocol):
    """Collects the router logits of a model during its forward passes."""

    def watch(self, model: nn.Module) -> None:
        """Register hooks on the routers of a model."""

    def start(self) -> None:
        """Start collecting."""

    def loss(self, mask: Tensor) -> Tensor:
        """Return the load-balancing loss over the tokens of a mask (N,)."""


class LitModel(L.LightningModule):
    """A model in training.

    All target tokens of an optimizer step have the same weight in the gradient, for any distribution over
    micro-batches and processes: micro-batches accumulate gradients of summed losses, and the step divides by
    the total number of targets, as transformers' Trainer does (`num_items_in_batch`).

    Args:
        model: The model.
        config: The training config.
        prepare: Loads the weights, and shards them over a mesh of processes if it receives one.
        routers: Collects the router logits for the load-balancing loss; None disables it.
        router_loss_coefficient: The factor of the load-balancing loss (`router_aux_loss_coef`).

    Attributes:
        step_sums: The token counts of the last optimizer step, over all micro-batches and processes.
        val_loss: The mean loss of a target in the last validation; None before the first.
        grad_norm: The gradient norm of the last step, before clipping.
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
        """Whether checkpoints contain the full model."""
        return not self._config.uses_lora

    @strict_loading.setter
    def strict_loading(self, value: bool) -> None:
        raise AttributeError(value)

    @property
    def num_steps(self) -> int:
        """The total number of optimizer steps.

        Lightning's estimate would set up the data, and lose the data position of a checkpoint.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined] # set by Lightning
        return self._config.num_steps(data.batches_in_epoch())

    def configure_model(self) -> None:
        """Prepare the model once; Lightning calls this again before validation."""
        if not self._ready:
            self._prepare(self.device_mesh["data_parallel"] if self.device_mesh is not None else None)
            self._ready = True
            if self._routers is not None:
                self._routers.watch(self.llm)

    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the summed loss of a micro-batch, divided by a constant of the step."""
        if self._routers is not None:
            self._routers.start()
        loss = self._loss(batch)
        self._micro_sums.add(loss, batch)
        if self._routers is not None:
            # A mean over tokens, so it is multiplied by the number of targets of the micro-batch.
            balancing = self._routers.loss(_padding_mask(batch["labels"]).flatten())
            loss = loss + balancing * (self._router_weight * count_targets(batch["labels"]))
        if self._divisor is None:
            # Any value works, because the step replaces it by the total number of targets. This value keeps
            # the gradients in the range of a mean loss, as float16 requires.
            first = self._micro_sums.all_reduce(self.trainer)
            self._divisor = max(1.0, first.target_tokens / self.trainer.world_size)
        # Lightning divides by the number of micro-batches.
        return loss * (self.trainer.accumulate_grad_batches / self._divisor)

    def on_train_batch_end(self, *_: Any) -> None:
        """Stop after the last step, which triggers a validation at any position of an epoch."""
        if self.trainer.global_step >= self.num_steps:
            self.trainer.should_stop = True  # Lightning then validates, unless it just did

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        if repeated := self._num_repeated(batch_idx, len(batch["labels"])):
            labels = batch["labels"].clone()
            labels[-repeated:] = _IGNORE_INDEX
            batch = {**batch, "labels": labels}
        self._val_sums.add(self._loss(batch), batch)

    def on_validation_epoch_end(self) -> None:
        sums, self._val_sums = self._val_sums.all_reduce(self.trainer), TokenCounts()
        self.val_loss = sums.mean_loss

    def _num_repeated(self, batch_idx: int, rows: int) -> int:
        """Return the number of repeated examples at the end of a validation batch.

        Lightning's sampler repeats the first examples if their number is not divisible by the world size.
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
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        decayed = [parameter for parameter in trainable if parameter.dim() > 1]
        others = [parameter for parameter in trainable if parameter.dim() <= 1]
        groups = [
            {"params": params, "weight_decay": decay}
            for params, decay in ((decayed, self._config.weight_decay), (others, 0.0))
            if params
        ]
        # With a GradScaler, fused AdamW receives scaled gradients, whose norm would be wrong.
        fused = self._config.precision != "16-mixed"
        optimizer = torch.optim.AdamW(groups, lr=self._config.peak_learning_rate, betas=_BETAS, fused=fused)
        schedule = self._config.lr_schedule(self.num_steps)
        # A lambda is not saved in checkpoints; the config defines the schedule.
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step))  # noqa: PLW0108 - see above
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_start(self) -> None:
        """Restore the learning rate of this run's schedule.

        A checkpoint has that of the run that wrote it, whose number of steps or peak may have been another.
        """
        for config in self.trainer.lr_scheduler_configs:
            scheduler: Any = config.scheduler
            scheduler.base_lrs = [self._config.peak_learning_rate] * len(scheduler.base_lrs)
            for group, factor in zip(scheduler.optimizer.param_groups, scheduler.lr_lambdas, strict=True):
                group["lr"] = self._config.peak_learning_rate * factor(scheduler.last_epoch)

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Divide the gradients by the number of targets of the step, and clip their norm."""
        self.step_sums, self._micro_sums = self._micro_sums.all_reduce(self.trainer), TokenCounts()
        assert self._divisor is not None  # noqa: S101 - set by training_step
        # Strategies average over processes, but the sum is needed.
        weight = self._divisor * self.trainer.world_size / max(1, self.step_sums.target_tokens)
        self._divisor = None
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norm: Any = nn.utils.get_total_norm(gradients)
        self.grad_norm = weight * float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
        if self._config.max_norm is not None:
            weight *= min(1.0, self._config.max_norm / (self.grad_norm + _EPSILON))
        for gradient in gradients:
            gradient.mul_(weight)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step and free the gradients at once; Lightning would keep them during the next forward pass."""
        optimizer = args[2] if len(args) > 2 else kwargs["optimizer"]
        self.learning_rate = optimizer.param_groups[0]["lr"]
        super().optimizer_step(*args, **kwargs)
        optimizer.zero_grad()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the config, and with LoRA only the trained weights."""
        checkpoint["litgpt"] = {"recipe": attrs.asdict(self._config)}
        if self._config.uses_lora:
            trainable = set(self.trainable_names())
            state = checkpoint["state_dict"]
            checkpoint["state_dict"] = {name: value for name, value in state.items() if name in trainable}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the tensors of a checkpoint match the model, before they are loaded."""
        expected = self.state_dict()
        if self._config.uses_lora:
            expected = {name: expected[name] for name in self.trainable_names()}
        if state := checkpoint.get("state_dict"):  # torch checks the tensors of sharded checkpoints
            check_weights(state, expected, origin="The checkpoint", name=self._config.model)

    def trainable_names(self) -> Iterator[str]:
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                yield name.replace(f"{MODEL_ATTRIBUTE}.model.", f"{MODEL_ATTRIBUTE}.", 1)


def _padding_mask(labels: Tensor) -> Tensor:
    """Return a mask (B, T) of non-padding tokens; examples end with a target and are right-padded."""
    return (labels != _IGNORE_INDEX).long().flip(-1).cummax(-1).values.flip(-1)


def count_targets(labels: Tensor) -> int:
    """Return the number of targets in labels (B, T); the first token of a row is never a target."""
    return int((labels[:, 1:] != _IGNORE_INDEX).sum())
