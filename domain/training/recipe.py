"""A recipe: all that a training run is asked for, in a file of settings or in options."""

import math
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import attrs

from litgpt.domain.errors import BadArgument, WrongType
from litgpt.domain.lora import Lora, Targets
from litgpt.domain.messages import brief_repr
from litgpt.domain.numeric import as_integer, as_real
from litgpt.domain.quantization import QUANTIZATIONS
from litgpt.domain.training.schedule import Schedule

Method: TypeAlias = Literal["full", "lora", "qlora"]
Task: TypeAlias = Literal["finetune", "pretrain"]
Spread: TypeAlias = Literal["auto", "ddp", "fsdp"]

_WARMUP = 0.03

PRECISIONS = ("32-true", "bf16-true", "bf16-mixed", "16-mixed")
"""Lightning's names for those that a model can be trained in."""


def _one_of(*allowed: object) -> Any:
    def check(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
        if value not in allowed:
            raise BadArgument(field.name, value, f"one of {', '.join(map(repr, allowed))}")

    return check


def _whole(least: int, *, none: bool = False) -> Any:
    return as_integer(least, f"a whole number from {least}{' or None' if none else ''}", none=none)


def _number(least: float, most: float = math.inf, *, none: bool = False) -> Any:
    bounds = f"from {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
    return as_real(least, f"a number {bounds}{' or None' if none else ''}", most=most, none=none)


def _text(*, none: bool = False) -> Any:
    def check(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
        if not (isinstance(value, str) and value) and not (none and value is None):
            raise WrongType(field.name, value, f"a text{' or None' if none else ''}")

    return check


def _flag(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, bool):
        raise WrongType(field.name, value, "True or False")


def _flag_or_none(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if not (value is None or isinstance(value, bool)):
        raise WrongType(field.name, value, "True, False or None")


def _setting(help_text: str, check: Any = None, **how: Any) -> Any:
    return attrs.field(validator=check, metadata={"help": help_text}, **how)


def _as_targets(value: Any) -> Targets:
    try:
        return Lora(targets=value).targets
    except BadArgument as error:
        error.name = "lora_targets"
        raise


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


@attrs.frozen(kw_only=True)
class Recipe:
    """A training run. Each attribute's meaning is its `help`, which is that of the command's option too."""

    model: str = _setting(
        "The model: a folder, a GGUF file, an installed name, or org/name.", _text(), converter=_as_text
    )
    data: str = _setting(
        "What to learn from: a file or folder of records or of texts, alpaca or alpaca_2k.",
        _text(),
        converter=_as_text,
    )
    out_dir: str = _setting("Where everything that comes of it goes.", _text(), converter=_as_text)
    task: Task = _setting(
        "finetune learns from examples, pretrain from texts.", _one_of(*get_args(Task)), default="finetune"
    )
    method: Method = _setting(
        "full trains all weights, lora an adapter, qlora an adapter on quantised weights.",
        _one_of(*get_args(Method)),
        default="full",
    )
    init: Literal["pretrained", "random"] = _setting(
        "Begin with the model's weights, or with random ones.",
        _one_of("pretrained", "random"),
        default="pretrained",
    )
    tokenizer_dir: str | None = _setting(
        "Another tokenizer than the model's.", _text(none=True), default=None, converter=_as_text
    )
    quantize: str | None = _setting(
        "How qlora quantises the weights.", _one_of(None, *QUANTIZATIONS), default=None
    )
    precision: str | None = _setting(
        "32-true, bf16-true, bf16-mixed or 16-mixed.  [default: what suits method and machine]",
        _one_of(None, *PRECISIONS),
        default=None,
    )
    epochs: int | None = _setting(
        "How often to go through the data.  [default: 1, or what max-steps needs]",
        converter=_whole(1, none=True),
        default=None,
    )
    max_steps: int | None = _setting(
        "End after this many optimiser steps.", converter=_whole(1, none=True), default=None
    )
    batch_size: int = _setting("Examples at once on each device.", converter=_whole(1), default=4)
    accumulate: int = _setting("Batches that make one optimiser step.", converter=_whole(1), default=1)
    learning_rate: float | None = _setting(
        "The highest.  [default: 2e-4 for adapters, 2e-5 for all weights, 4e-4 from random ones]",
        converter=_number(0, none=True),
        default=None,
    )
    min_learning_rate: float = _setting("The last.", converter=_number(0), default=0.0)
    warmup_steps: int | None = _setting(
        "Steps in which the rate rises.  [default: 3 % of all]", converter=_whole(0, none=True), default=None
    )
    weight_decay: float = _setting(
        "How weights shrink; norms and biases do not.", converter=_number(0), default=0.0
    )
    max_norm: float | None = _setting(
        "Gradients are no longer than this.", converter=_number(0, none=True), default=1.0
    )
    gradient_checkpointing: bool = _setting(
        "Compute activations again in place of keeping them: less memory, a third more time.",
        _flag,
        default=False,
    )
    max_seq_length: int | None = _setting(
        "Tokens of an example.  [default: the model's context, 2048 at most]",
        converter=_whole(2, none=True),
        default=None,
    )
    mask_prompt: bool = _setting("Learn answers only, and not what they answer.", _flag, default=False)
    prompt_style: str | None = _setting(
        "How examples are written.  [default: the model's chat template, else alpaca]",
        _text(none=True),
        default=None,
    )
    parse_special_tokens: bool | None = _setting(
        "Make control tokens of special tokens that are written in the data, such as <|im_end|>.  "
        "[default: only with prompt_style default]",
        _flag_or_none,
        default=None,
    )
    val_split: float | None = _setting(
        "The share of the data to validate with, where it has no file for that.",
        converter=_number(0, 0.99, none=True),
        default=0.05,
    )
    eval_every: int | None = _setting(
        "Validate every so many steps.  [default: each epoch]", converter=_whole(1, none=True), default=None
    )
    save_every: int | None = _setting(
        "Save every so many steps.  [default: each epoch]", converter=_whole(1, none=True), default=None
    )
    lora_rank: int = _setting("How much an adapter can learn.", converter=_whole(1), default=8)
    lora_alpha: float = _setting(
        "What an adapter adds counts this over its rank.", converter=_number(0), default=16.0
    )
    lora_dropout: float = _setting(
        "How many inputs an adapter leaves out.", converter=_number(0, 0.99), default=0.0
    )
    lora_targets: Targets = attrs.field(
        default=None,
        converter=_as_targets,
        metadata={
            "help": "Layers, as transformers calls them, or all-linear.  [default: queries and values]"
        },
    )
    seed: int = _setting("Makes a run repeatable.", converter=_whole(0), default=42)
    accelerator: str = _setting(
        "cpu, gpu, cuda, mps or auto.", _one_of("cpu", "gpu", "cuda", "mps", "auto"), default="auto"
    )
    devices: int = _setting("How many devices, on each machine.", converter=_whole(1), default=1)
    nodes: int = _setting("How many machines.", converter=_whole(1), default=1)
    strategy: Spread = _setting(
        "ddp: each device has all weights. fsdp: each has a part.", _one_of(*get_args(Spread)), default="auto"
    )
    tensorboard: bool = _setting("Write TensorBoard's files too.", _flag, default=False)

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
                f"None with method={self.method!r}: quantised weights cannot be trained",
            )
        if self.strategy == "fsdp" and self.method == "qlora":
            raise BadArgument(
                "strategy", self.strategy, "'ddp' with method='qlora': quantised weights are not divided"
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
