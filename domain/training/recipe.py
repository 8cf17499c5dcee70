"""A recipe: all that a training run is asked for, in a file of settings or in options."""

import math
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import attrs

from litgpt.domain.calls import shows_settings
from litgpt.domain.errors import BadArgument
from litgpt.domain.lora import Lora, Targets
from litgpt.domain.messages import brief_repr
from litgpt.domain.quantization import QUANTIZATIONS
from litgpt.domain.training.schedule import Schedule
from litgpt.domain.validators import as_integer, as_real, is_flag, is_flag_or_none, one_of, text

Method: TypeAlias = Literal["full", "lora", "qlora"]
Task: TypeAlias = Literal["finetune", "pretrain"]
Init: TypeAlias = Literal["pretrained", "random"]
Spread: TypeAlias = Literal["auto", "ddp", "fsdp"]

_WARMUP = 0.03

PRECISIONS = ("32-true", "bf16-true", "bf16-mixed", "16-mixed")
"""Lightning's names for those that a model can be trained in."""


def setting(help_text: str, check: Any = None, **how: Any) -> Any:
    """Return a field with a validator, and with the help that commands and help() show."""
    return attrs.field(validator=check, metadata={"help": help_text}, **how)


def _as_targets(value: Any) -> Targets:
    try:
        return Lora(targets=value).targets
    except BadArgument as error:
        error.name = "lora_targets"
        raise


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _init(value: Init | None, recipe: Any) -> Init:
    if value is not None:
        return value
    return "random" if recipe.task == "pretrain" else "pretrained"


def _method(value: Method | None, recipe: Any) -> Method:
    if value is not None:
        return value
    return "full" if recipe.task == "pretrain" or recipe.init == "random" else "lora"


@shows_settings
@attrs.frozen(kw_only=True)
class Recipe:
    """A training run, as `litgpt finetune` and `litgpt pretrain` take it: the same settings and defaults."""

    model: str = setting(
        "The model: a folder, a GGUF file, an installed name, or org/name.", text(), converter=_as_text
    )
    data: str = setting(
        "What to learn from: a file or folder of records or of texts, alpaca or alpaca_2k.",
        text(),
        converter=_as_text,
    )
    out_dir: str = setting(
        "The folder for checkpoints, metrics and the model or adapter.", text(), converter=_as_text
    )
    task: Task = setting(
        "finetune learns from examples, pretrain from texts.", one_of(*get_args(Task)), default="finetune"
    )
    init: Init = setting(
        "Begin with the model's weights (pretrained), or with random ones.  "
        "[default: pretrained to finetune, random to pretrain]",
        one_of(*get_args(Init)),
        converter=attrs.Converter(_init, takes_self=True),
        default=None,
    )
    method: Method = setting(
        "full trains all weights, lora an adapter, qlora an adapter on quantized weights.  "
        "[default: lora to finetune; full to pretrain, or from random weights]",
        one_of(*get_args(Method)),
        converter=attrs.Converter(_method, takes_self=True),
        default=None,
    )
    tokenizer_dir: str | None = setting(
        "Another tokenizer than the model's own: a folder, a GGUF file, an installed name, or org/name.",
        text(none=True),
        default=None,
        converter=_as_text,
    )
    quantize: str | None = setting(
        "How qlora quantizes the weights, such as bnb.nf4, int8 or int4.  [default: bnb.nf4]",
        one_of(None, *QUANTIZATIONS),
        default=None,
    )
    precision: str | None = setting(
        "32-true, bf16-true, bf16-mixed or 16-mixed.  [default: what suits method and machine]",
        one_of(None, *PRECISIONS),
        default=None,
    )
    epochs: int | None = setting(
        "Passes through the data.  [default: 1, or what max-steps needs]",
        converter=as_integer(1, none=True),
        default=None,
    )
    max_steps: int | None = setting(
        "Optimizer steps after which to end.", converter=as_integer(1, none=True), default=None
    )
    batch_size: int = setting("Examples per batch, on each device.", converter=as_integer(1), default=4)
    accumulate: int = setting(
        "Batches per optimizer step (gradient accumulation).", converter=as_integer(1), default=1
    )
    learning_rate: float | None = setting(
        "The highest learning rate.  "
        "[default: 2e-4 for adapters, 2e-5 for all weights, 4e-4 from random ones]",
        converter=as_real(none=True),
        default=None,
    )
    min_learning_rate: float = setting(
        "The learning rate of the last step.", converter=as_real(), default=0.0
    )
    warmup_steps: int | None = setting(
        "Optimizer steps over which the learning rate rises.  [default: 3 % of all]",
        converter=as_integer(0, none=True),
        default=None,
    )
    weight_decay: float = setting(
        "AdamW's weight decay, which norms and biases are exempt from.", converter=as_real(), default=0.0
    )
    max_norm: float | None = setting(
        "The largest norm of the gradients, to which they are clipped.",
        converter=as_real(none=True),
        default=1.0,
    )
    gradient_checkpointing: bool = setting(
        "Compute activations again in place of keeping them: less memory, a third more time.",
        is_flag,
        default=False,
    )
    max_seq_length: int | None = setting(
        "Tokens per example, at most.  [default: the model's context, 2048 at most]",
        converter=as_integer(2, none=True),
        default=None,
    )
    mask_prompt: bool = setting("Learn answers only, and not what they answer.", is_flag, default=False)
    prompt_style: str | None = setting(
        "How examples are written.  [default: the model's chat template, else alpaca]",
        text(none=True),
        default=None,
    )
    parse_special_tokens: bool | None = setting(
        "Make control tokens of special tokens that are written in the data, such as <|im_end|>.  "
        "[default: only with prompt_style default]",
        is_flag_or_none,
        default=None,
    )
    val_split: float | None = setting(
        "The share of the data to validate with, from 0 to 1, where the data has no file for that.",
        converter=as_real(below=1, none=True),
        default=0.05,
    )
    eval_every: int | None = setting(
        "Validate every so many steps.  [default: each epoch]",
        converter=as_integer(1, none=True),
        default=None,
    )
    save_every: int | None = setting(
        "Save every so many steps.  [default: each epoch]", converter=as_integer(1, none=True), default=None
    )
    lora_rank: int = setting("The rank of the adapter's matrices.", converter=as_integer(1), default=8)
    lora_alpha: float = setting("The adapter is scaled by alpha / rank.", converter=as_real(), default=16.0)
    lora_dropout: float = setting(
        "The share of the adapter's inputs that are dropped in training, from 0 to 1.",
        converter=as_real(below=1),
        default=0.0,
    )
    lora_targets: Targets = attrs.field(
        default=None,
        converter=_as_targets,
        metadata={
            "help": "Layers that get an adapter, as transformers calls them, or all-linear.  "
            "[default: queries and values]"
        },
    )
    seed: int = setting("A number that makes the run repeatable.", converter=as_integer(0), default=42)
    accelerator: str = setting(
        "cpu, gpu, cuda, mps or auto.", one_of("cpu", "gpu", "cuda", "mps", "auto"), default="auto"
    )
    devices: int = setting("The number of devices, on each machine.", converter=as_integer(1), default=1)
    nodes: int = setting("The number of machines.", converter=as_integer(1), default=1)
    strategy: Spread = setting(
        "ddp: each device has all weights. fsdp: each has a part.", one_of(*get_args(Spread)), default="auto"
    )
    tensorboard: bool = setting("Write TensorBoard's files too.", is_flag, default=False)

    __repr__ = brief_repr

    def __attrs_post_init__(self) -> None:
        if self.adapts and self.init == "random":
            raise BadArgument(
                "method",
                self.method,
                "'full' for random weights: an adapter would change nothing that counts",
            )
        if self.quantize is not None and self.method != "qlora":
            raise BadArgument(
                "quantize",
                self.quantize,
                f"None with method={self.method!r}: quantized weights cannot be trained",
            )
        if self.strategy == "fsdp" and self.method == "qlora":
            raise BadArgument(
                "strategy", self.strategy, "'ddp' with method='qlora': quantized weights are not divided"
            )
        if self.strategy == "auto" and self.devices * self.nodes > 1:
            raise BadArgument(
                "strategy", self.strategy, f"'ddp' or 'fsdp' with {self.devices * self.nodes} devices"
            )

    @property
    def adapts(self) -> bool:
        """Whether an adapter learns, and the model's own weights stay."""
        return self.method != "full"

    @property
    def quantised_as(self) -> str | None:
        """How the weights are quantised."""
        return (self.quantize or "bnb.nf4") if self.method == "qlora" else None

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 2e-4 if self.adapts else 4e-4 if self.init == "random" else 2e-5

    @property
    def lora(self) -> Lora:
        """What is added to which layers."""
        return Lora(
            rank=self.lora_rank, alpha=self.lora_alpha, dropout=self.lora_dropout, targets=self.lora_targets
        )

    def steps(self, batches: int) -> int:
        """Return how many optimiser steps there will be, if an epoch has so many batches on each device."""
        whole = math.ceil(batches / self.accumulate) * (self.epochs or 1)
        if self.max_steps is None:
            return whole
        return self.max_steps if self.epochs is None else min(whole, self.max_steps)

    def schedule(self, steps: int) -> Schedule:
        """Return how the learning rate changes over so many steps."""
        warmup = self.warmup_steps if self.warmup_steps is not None else max(1, round(_WARMUP * steps))
        floor = min(1.0, self.min_learning_rate / self.rate) if self.rate else 0.0
        return Schedule(steps=steps, warmup=min(steps, warmup), floor=floor)


SETTINGS: Mapping[str, "attrs.Attribute[Any]"] = {field.name: field for field in attrs.fields(Recipe)}
"""Every setting, by name."""


def recipe_of(settings: Mapping[str, object]) -> Recipe:
    """Return a recipe of settings by name.

    Raises:
        BadArgument: One is not known, one that is needed is missing, or one cannot be right.

    """
    for name in settings:
        if name not in SETTINGS:
            close = get_close_matches(str(name), SETTINGS, n=2)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise BadArgument("A setting", name, f"one of {', '.join(SETTINGS)}{hint}")
    for name, field in SETTINGS.items():
        if field.default is attrs.NOTHING and settings.get(name) is None:
            raise BadArgument(name, None, f"given: {field.metadata['help']}")
    return Recipe(**settings)  # type: ignore[arg-type] # its validators check them
