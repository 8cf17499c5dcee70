"""`litgpt finetune` and `litgpt pretrain`: one option per setting of `TrainConfig`."""

import re
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from litgpt.cli import console, options
from litgpt.cli.error_output import UsageError, as_typed

Task = Literal["finetune", "pretrain"]

_POSITIONAL = ("model",)
_EXCLUDED_OPTIONS: Mapping[Task, tuple[str, ...]] = {
    "finetune": ("task", "init"),
    "pretrain": (
        *("task", "method", "quantize", "mask_prompt", "prompt_style", "val_split"),
        *("lora_rank", "lora_alpha", "lora_dropout", "lora_targets"),
    ),
}
_HELP: Mapping[Task, Mapping[str, str]] = {
    "finetune": {
        "data": "Training data: a file or folder of examples; `alpaca` or `alpaca_2k`.",
        "method": "full trains all weights, lora a LoRA adapter, qlora a LoRA adapter on quantized weights.  "
        "[default: lora]",
        "learning_rate": "Peak learning rate.  [default: 2e-4 for LoRA, 2e-5 for full training]",
    },
    "pretrain": {
        "data": "Training data: a file or folder of texts.",
        "out_dir": "Output directory for checkpoints, metrics and the trained model.",
        "init": "Initial weights: pretrained or random.  [default: random]",
        "learning_rate": "Peak learning rate.  [default: 4e-4 from random, 2e-5 from pretrained weights]",
        "parse_special_tokens": "Encode special tokens written in the data, such as <|im_end|>, as control "
        "tokens.",
    },
}
"""Help texts of settings whose general text mentions other commands."""

_INTERRUPTED = 130
_SETTING = re.compile(r"\b[a-z]+_[a-z_]+\b")

_Config = Annotated[
    Path | None,
    typer.Option(help="YAML file of settings, such as the recipe.yaml of a run; options take precedence."),
]
_Resume = Annotated[str | None, typer.Option(help="Resume a run from a checkpoint: last, or its path.")]


def _command(task: Task, summary: str) -> Callable[..., None]:
    def run(**options: Any) -> None:
        _train(task, **options)

    run.__name__, run.__doc__ = task, summary
    run.__signature__ = Signature()  # type: ignore[attr-defined] # typer reads it
    return run


COMMANDS: Mapping[Task, Callable[..., None]] = {
    "finetune": _command("finetune", "Fine-tune a model on examples, with LoRA, QLoRA or full training."),
    "pretrain": _command("pretrain", "Pretrain a model on texts, from random or from pretrained weights."),
}
"""The training commands, by name."""


def add_options(name: str) -> None:
    """Add an option per setting to a training command; other commands skip the import of the settings."""
    task = next((task for task in COMMANDS if task == name), None)
    if task is None:
        return
    from litgpt.domain.training.config import CONFIG_FIELDS

    annotations: dict[str, tuple[Any, bool | None]] = {
        setting: (_option(task, setting), None)
        for setting in CONFIG_FIELDS
        if setting not in _EXCLUDED_OPTIONS[task]
    }
    annotations |= {"config": (_Config, None), "resume": (_Resume, None)}
    annotations |= {"force": (options.Force, False), "quiet": (options.Quiet, False)}
    parameters = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in annotations.items()
    ]
    run: Any = COMMANDS[task]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__signature__ = Signature(parameters)


def _option(task: Task, name: str) -> Any:
    from litgpt.domain.training.config import CONFIG_FIELDS

    field = CONFIG_FIELDS[name]
    default = _defaults(task).get(name, field.default)
    help_text = _HELP[task].get(name, field.metadata["help"])
    if field.metadata.get("missing") and name not in _defaults(task):
        help_text += "  [required, unless --config has it]"
    help_text = _SETTING.sub(lambda match: _typed(match[0]), help_text)
    if default is not None and type(default) in (str, int, float) and "[default" not in help_text:
        help_text += f"  [default: {default}]"
    kind = next((base for base in (bool, int, float) if _mentions(field.type, base)), str)
    if name in _POSITIONAL:
        return Annotated[str | None, typer.Argument(help=help_text, metavar=name.upper())]
    return Annotated[kind | None, typer.Option(help=help_text, show_default=False)]


def _typed(name: str) -> str:
    """Return the option of a setting; other words are returned unchanged."""
    from litgpt.domain.training.config import CONFIG_FIELDS

    return f"--{name.replace('_', '-')}" if name in CONFIG_FIELDS else name


def _defaults(task: Task) -> dict[str, object]:
    """Return the defaults of a command for settings that `TrainConfig` requires."""
    model = {"model": options.DEFAULT_MODEL} if task == "finetune" else {}
    return {"out_dir": f"out/{task}", **model}


def _mentions(annotation: Any, kind: type) -> bool:
    return annotation is kind or kind in getattr(annotation, "__args__", ())


def _train(
    task: Task, *, config: Path | None, resume: str | None, force: bool, quiet: bool, **options: Any
) -> None:
    from litgpt.cli.model_loading import StatusLine
    from litgpt.domain.errors import MissingArgument
    from litgpt.domain.progress import Notice, Progress
    from litgpt.domain.training.config import CONFIG_FIELDS, config_from_settings
    from litgpt.training_run.run_folder import check_paths

    overrides = {name: value for name, value in options.items() if value is not None}
    if isinstance(targets := overrides.get("lora_targets"), str) and "," in targets:
        overrides["lora_targets"] = [target.strip() for target in targets.split(",")]
    settings = _defaults(task)
    if config is not None:
        from litgpt.adapters.training.config_file import read_settings

        settings |= read_settings(config)
    try:
        train_config = config_from_settings({**settings, **overrides, "task": task}, str(config or ""))
    except MissingArgument as error:
        positional = error.name in _POSITIONAL
        error.name = error.name.upper() if positional else f"--{error.name.replace('_', '-')}"
        raise UsageError(str(error)) from error
    # The paths and the model are checked before torch is imported, which takes seconds.
    check_paths(train_config, resume=resume, overwrite=force)
    with StatusLine(f"Preparing to train {train_config.model} …", quiet=quiet) as work:
        if not (work.is_quiet or console.stderr_is_terminal()):
            console.note(work.text)  # importing torch takes seconds; a log should show the start
        if train_config.init == "pretrained":
            from litgpt.container import container
            from litgpt.domain.reference import ModelReference

            container.store().open(ModelReference(train_config.model)).close()
        from litgpt.training import train

        def report(event: Notice | Progress) -> None:
            work.report(Notice(as_typed(event.text, typed)) if isinstance(event, Notice) else event)

        typed = {name: f"--{name.replace('_', '-')}" for name in (*CONFIG_FIELDS, "resume")}
        result = train(train_config, resume=resume, overwrite=force, report=report)
    if result.saved is None:
        raise typer.Exit(_INTERRUPTED)
    console.show(str(result.saved))
