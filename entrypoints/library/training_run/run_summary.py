"""Summaries of a training run: a line at its start and a table at its end."""

import shlex
from pathlib import Path
from typing import Any

import attrs
import lightning as L  # noqa: N812 - the usual name

from litgpt.adapters.training.lightning_module import LitModel
from litgpt.adapters.training.metrics import MetricsCallback
from litgpt.domain.formatting.units import format_bytes, format_count, format_duration
from litgpt.domain.memory.estimate import parameter_count
from litgpt.domain.training.config import TrainConfig
from litgpt.training_run.memory_check import TrainingMemory


@attrs.frozen(kw_only=True)
class StartSummary:
    """Describes a run before its first step, after its weights are loaded."""

    memory: TrainingMemory
    train_set: Any

    def __call__(self, trainer: L.Trainer, module: LitModel) -> str:
        config, loaded, train = self.memory.config, self.memory.loaded, self.train_set
        trained = sum(x.numel() for x in module.parameters() if x.requires_grad)
        total = parameter_count(loaded.architecture) + (trained if config.uses_lora else 0)
        examples = format_count(len(train), "window" if config.task == "pretrain" else "example")
        name, steps = loaded.checkpoint.name, format_count(module.num_steps, "step")
        if trainer.global_step:
            steps += f" from step {trainer.global_step + 1:,} on"
        devices = f"{trainer.world_size} x " if trainer.world_size > 1 else ""
        precision = "bf16-true" if self.memory.dtype == "bfloat16" else self.memory.precision
        memory = format_bytes(self.memory.needs(train.longest).total)
        return (
            f"Training {name} ({describe_method(config)}): {trained:,} of {total:,} parameters trained "
            f"({trained / total:.2%}), {examples} with {train.tokens:,} tokens, {steps}, "
            f"on {devices}{trainer.strategy.root_device.type} in {precision}, "
            f"about {memory} of memory{' each' if devices else ''}"
        )


def describe_method(config: TrainConfig) -> str:
    """Return a description of the training method."""
    if config.task == "pretrain":
        return "pretraining" if config.init == "random" else "continued pretraining"
    if not config.uses_lora:
        return "full fine-tuning"
    return f"{'QLoRA' if config.method == 'qlora' else 'LoRA'}, rank {config.lora_rank}"


def end_table(
    config: TrainConfig,
    saved: Path,
    checkpoint: Path | None,
    steps: int,
    metrics: MetricsCallback,
    seconds: float,
) -> str:
    """Return a table of a run's results, its files and a command to try the model.

    `steps` includes those of resumed runs, `seconds` loading and saving.
    """
    out = saved.parent
    speed = "" if metrics.tokens_per_second is None else f" at {metrics.tokens_per_second:,.0f} tokens/s"
    rows = {
        "steps": f"{steps:,}",
        "loss": None if metrics.train_loss is None else f"{metrics.train_loss:.4f}",
        "validation loss": None if metrics.val_loss is None else f"{metrics.val_loss:.4f}",
        "tokens": f"{metrics.tokens:,}{speed}",
        "time": format_duration(seconds),
        saved.name: str(saved),
        "loss curve": _optional_path(out / "loss.png"),
        "metrics": _optional_path(out / "metrics.csv"),
        "checkpoint": None if checkpoint is None else str(checkpoint),
        "try it": _command(config, saved),
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:{width}}   {value}" for name, value in rows.items() if value is not None)


def _command(config: TrainConfig, saved: Path) -> str:
    folder = shlex.quote(str(saved))
    if config.task == "pretrain":
        return f'litgpt generate {folder} --prompt "Once upon a time"'
    return f"litgpt chat {folder}"


def _optional_path(path: Path) -> str | None:
    return str(path) if path.exists() else None
