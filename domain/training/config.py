"""The configuration of a training run, read from a YAML file or from command-line options."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import attrs

from litgpt.domain.errors import InvalidArgument, MissingArgument
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.lora.config import LoraConfig, TargetModules
from litgpt.domain.quantization import QUANTIZATIONS
from litgpt.domain.training.errors import UnknownSetting
from litgpt.domain.training.lr_schedule import WarmupCosine
from litgpt.domain.validation.call_signatures import document_fields
from litgpt.domain.validation.option_names import suggest_name
from litgpt.domain.validators import as_integer, as_real, is_flag, is_flag_or_none, one_of, setting, text

Method: TypeAlias = Literal["full", "lora", "qlora"]
Task: TypeAlias = Literal["finetune", "pretrain"]
Init: TypeAlias = Literal["pretrained", "random"]
DataParallelStrategy: TypeAlias = Literal["auto", "ddp", "fsdp"]

_WARMUP_FRACTION = 0.03

PRECISIONS = ("32-true", "bf16-true", "bf16-mixed", "16-mixed")
"""Lightning's names of the precisions that a model can be trained in."""


def _to_targets(value: Any) -> TargetModules:
    try:
        return LoraConfig(targets=value).targets
    except InvalidArgument as error:
        error.name = "lora_targets"
        raise


def _to_text(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _default_init(value: Init | None, config: Any) -> Init:
    if value is not None:
        return value
    return "random" if config.task == "pretrain" else "pretrained"


def _default_method(value: Method | None, config: Any) -> Method:
    if value is not None:
        return value
    return "full" if config.task == "pretrain" or config.init == "random" else "lora"


@document_fields
@attrs.frozen(kw_only=True)
class TrainConfig:
    """The configuration of a training run: the settings and defaults of `litgpt finetune` and `pretrain`."""

    model: str = setting(
        "Model to train: a folder, a GGUF file, an installed model, or a Hub repository (org/name).",
        text(),
        missing="pass a folder, a GGUF file, the name of an installed model, or a Hub repository.",
        converter=_to_text,
    )
    data: str = setting(
        "Training data: a file or folder of examples, or of texts for pretrain; `alpaca` or `alpaca_2k`.",
        text(),
        missing="pass a file or folder of training examples, or `alpaca` / `alpaca_2k`.",
        converter=_to_text,
    )
    out_dir: str = setting(
        "Output directory for checkpoints, metrics and the trained model or adapter.",
        text(),
        missing="pass a directory for checkpoints, metrics and the trained model or adapter.",
        converter=_to_text,
    )
    task: Task = setting(
        "finetune trains on examples, pretrain on texts.", one_of(*get_args(Task)), default="finetune"
    )
    init: Init = setting(
        "Initial weights: pretrained or random.  [default: pretrained for finetune, random for pretrain]",
        one_of(*get_args(Init)),
        converter=attrs.Converter(_default_init, takes_self=True),
        default=None,
    )
    method: Method = setting(
        "full trains all weights, lora a LoRA adapter, qlora a LoRA adapter on quantized weights.  "
        "[default: lora for finetune; full for pretrain and for random weights]",
        one_of(*get_args(Method)),
        converter=attrs.Converter(_default_method, takes_self=True),
        default=None,
    )
    tokenizer_dir: str | None = setting(
        "Tokenizer, if not that of the model: a folder, a GGUF file, an installed model, or org/name.",
        text(none=True),
        default=None,
        converter=_to_text,
    )
    quantize: str | None = setting(
        "Quantization of the base weights for qlora, such as bnb.nf4, int8 or int4.  [default: bnb.nf4]",
        one_of(None, *QUANTIZATIONS),
        default=None,
    )
    precision: str | None = setting(
        "32-true, bf16-true, bf16-mixed or 16-mixed.  [default: chosen for the method and the device]",
        one_of(None, *PRECISIONS),
        default=None,
    )
    epochs: int | None = setting(
        "Number of passes over the data.  [default: 1, or as many as max_steps needs]",
        converter=as_integer(1, none=True),
        default=None,
    )
    max_steps: int | None = setting(
        "Maximum number of optimizer steps.", converter=as_integer(1, none=True), default=None
    )
    batch_size: int = setting("Examples per batch on each device.", converter=as_integer(1), default=4)
    accumulate: int = setting(
        "Batches per optimizer step (gradient accumulation).", converter=as_integer(1), default=1
    )
    learning_rate: float | None = setting(
        "Peak learning rate.  [default: 2e-4 for LoRA, 2e-5 for full training, 4e-4 from random weights]",
        converter=as_real(none=True),
        default=None,
    )
    min_learning_rate: float = setting(
        "Final learning rate, at the end of the cosine decay.", converter=as_real(), default=0.0
    )
    warmup_steps: int | None = setting(
        "Optimizer steps of linear learning-rate warmup.  [default: 3% of all steps]",
        converter=as_integer(0, none=True),
        default=None,
    )
    weight_decay: float = setting(
        "Weight decay of AdamW; norms and biases are not decayed.", converter=as_real(), default=0.0
    )
    max_norm: float | None = setting(
        "Gradients are clipped to this norm.",
        converter=as_real(none=True),
        default=1.0,
    )
    gradient_checkpointing: bool = setting(
        "Recompute activations in the backward pass: less memory, about a third more time.",
        is_flag,
        default=False,
    )
    max_seq_length: int | None = setting(
        "Maximum number of tokens per example; longer examples are truncated.  "
        "[default: the model's context length, at most 2048]",
        converter=as_integer(2, none=True),
        default=None,
    )
    mask_prompt: bool = setting("Compute the loss on responses only, not on prompts.", is_flag, default=False)
    prompt_style: str | None = setting(
        "Prompt style of the examples.  [default: the model's chat template, or else alpaca]",
        text(none=True),
        default=None,
    )
    parse_special_tokens: bool | None = setting(
        "Encode special tokens written in the data, such as <|im_end|>, as control tokens.  "
        "[default: only with the prompt style `default`]",
        is_flag_or_none,
        default=None,
    )
    val_split: float | None = setting(
        "Fraction of the data used for validation, from 0 to below 1, if it has no validation file.",
        converter=as_real(below=1, none=True),
        default=0.05,
    )
    eval_every: int | None = setting(
        "Validate every N optimizer steps.  [default: after each epoch]",
        converter=as_integer(1, none=True),
        default=None,
    )
    save_every: int | None = setting(
        "Save a checkpoint every N optimizer steps.  [default: after each epoch]",
        converter=as_integer(1, none=True),
        default=None,
    )
    lora_rank: int = setting("LoRA rank r.", converter=as_integer(1), default=8)
    lora_alpha: float = setting(
        "LoRA scaling: the update is multiplied by alpha / rank.", converter=as_real(), default=16.0
    )
    lora_dropout: float = setting(
        "Dropout probability of the LoRA inputs, from 0 to below 1.",
        converter=as_real(below=1),
        default=0.0,
    )
    lora_targets: TargetModules = attrs.field(
        default=None,
        converter=_to_targets,
        metadata={
            "help": "Modules to adapt, by their names in transformers, or all-linear.  "
            "[default: query and value projections]"
        },
    )
    seed: int = setting("Seed of the random number generators.", converter=as_integer(0), default=42)
    accelerator: str = setting(
        "Device type: cpu, gpu, cuda, mps or auto.",
        one_of("cpu", "gpu", "cuda", "mps", "auto"),
        default="auto",
    )
    devices: int = setting("Number of devices on each machine.", converter=as_integer(1), default=1)
    nodes: int = setting("Number of machines.", converter=as_integer(1), default=1)
    strategy: DataParallelStrategy = setting(
        "ddp replicates the weights on each device, fsdp shards them; auto is for a single device.",
        one_of(*get_args(DataParallelStrategy)),
        default="auto",
    )
    tensorboard: bool = setting("Also write TensorBoard logs.", is_flag, default=False)

    __repr__ = brief_repr

    def __attrs_post_init__(self) -> None:
        if self.uses_lora and self.init == "random":
            expected = "'full' with init='random' (an adapter needs pretrained weights)"
            raise InvalidArgument("method", self.method, expected)
        if self.quantize is not None and self.method != "qlora":
            expected = f"None with method={self.method!r} (only 'qlora' trains on quantized weights)"
            raise InvalidArgument("quantize", self.quantize, expected)
        if self.strategy == "fsdp" and self.method == "qlora":
            raise InvalidArgument(
                "strategy", self.strategy, "'ddp' with method='qlora' (quantized weights cannot be sharded)"
            )
        if self.strategy == "auto" and self.devices * self.nodes > 1:
            several = f"devices={self.devices}" + (f" and nodes={self.nodes}" if self.nodes > 1 else "")
            raise InvalidArgument("strategy", self.strategy, f"'ddp' or 'fsdp' with {several}")

    @property
    def uses_lora(self) -> bool:
        """Whether an adapter is trained and the base weights are frozen."""
        return self.method != "full"

    @property
    def quantization(self) -> str | None:
        return (self.quantize or "bnb.nf4") if self.method == "qlora" else None

    @property
    def peak_learning_rate(self) -> float:
        if self.learning_rate is not None:
            return self.learning_rate
        return 2e-4 if self.uses_lora else 4e-4 if self.init == "random" else 2e-5

    @property
    def lora_config(self) -> LoraConfig:
        return LoraConfig(
            rank=self.lora_rank, alpha=self.lora_alpha, dropout=self.lora_dropout, targets=self.lora_targets
        )

    def num_steps(self, num_batches: int) -> int:
        """Return the number of optimizer steps, given the batches per epoch on each device."""
        total = math.ceil(num_batches / self.accumulate) * (self.epochs or 1)
        if self.max_steps is None:
            return total
        return self.max_steps if self.epochs is None else min(total, self.max_steps)

    def lr_schedule(self, num_steps: int) -> WarmupCosine:
        warmup = self.warmup_steps
        if warmup is None:
            warmup = max(1, round(_WARMUP_FRACTION * num_steps))
        floor = min(1.0, self.min_learning_rate / self.peak_learning_rate) if self.peak_learning_rate else 0.0
        return WarmupCosine(total_steps=num_steps, warmup_steps=min(num_steps, warmup), min_lr_ratio=floor)


CONFIG_FIELDS: Mapping[str, "attrs.Attribute[Any]"] = {
    field.name: field for field in attrs.fields(TrainConfig)
}
"""Every setting, by name."""


def config_from_settings(settings: Mapping[str, object], source: str = "") -> TrainConfig:
    """Return a configuration from settings by name; `source` is their file, for error messages."""
    for name in settings:
        if name not in CONFIG_FIELDS:
            close = suggest_name(str(name), CONFIG_FIELDS)
            hint = f"Did you mean {close!r}?" if close else f"Settings: {', '.join(CONFIG_FIELDS)}."
            raise UnknownSetting(source, name, hint)
    for name, field in CONFIG_FIELDS.items():
        if field.default is attrs.NOTHING and settings.get(name) is None:
            raise MissingArgument(name, None, field.metadata["missing"])
    return TrainConfig(**settings)  # type: ignore[arg-type] # its validators check them
