"""What a recipe makes of a model: before it is trained, and when it has been."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from litgpt.adapters.checkpoints.small_files import (
    CONFIGS,
    PROMPT_STYLE,
    prompt_style_file,
    with_chat_template,
)
from litgpt.application.exporting import ends_to_write, exported_template, with_end_ids
from litgpt.application.teaching import style_to_teach
from litgpt.container import container
from litgpt.domain.errors import BadArgument
from litgpt.domain.overwriting import held_adapter
from litgpt.domain.prompts import style_named
from litgpt.domain.prompts.questions import PLAIN
from litgpt.domain.prompts.style import PromptStyle
from litgpt.domain.reference import lasting_name
from litgpt.domain.reporting import Report
from litgpt.domain.training.recipe import Recipe
from litgpt.llm import LLM


def prepare(llm: LLM, recipe: Recipe, dtype: torch.dtype, mesh: Any = None) -> None:
    """Give a model its weights, and what is to learn of it gradients.

    Args:
        llm: The model.
        recipe: How it is to be trained.
        dtype: What its own weights are to be in.
        mesh: The processes that each keep a part of it; None: there is one, or each has all.

    """
    with _reading_in(dtype):
        llm.trainer_setup(quantize=recipe.quantised_as)
    assert llm.model is not None  # noqa: S101 - it has been set up
    llm.model.gradient_checkpointing = recipe.gradient_checkpointing
    if recipe.adapts:
        lora = recipe.lora
        llm.add_lora(lora.rank, lora.alpha, lora.dropout, lora.targets)
    if mesh is not None:
        llm.shard(mesh)


def style_to_learn(llm: LLM, recipe: Recipe) -> PromptStyle | None:
    """Return the style in which a model learns to be asked; None is its chat template.

    It is the recipe's, or the one in which the model is asked already; one that only continues text gets
    Alpaca's, as instructions need some form.
    """
    if recipe.prompt_style is not None:
        return style_named(recipe.prompt_style)
    own = llm.prompt_style
    return style_to_teach(llm.tokenizer.port, None if own is PLAIN else own)


def save_trained(llm: LLM, recipe: Recipe, out: Path, report: Report, *, first: bool = True) -> Path:
    """Save what was learnt as `model` or `adapter` in a folder, which is returned.

    Args:
        llm: The model; if it is divided among processes, all of them call this.
        recipe: How it was trained.
        out: The folder of the run.
        report: Is told where to.
        first: Whether this process is the one that writes.

    """
    whole = _put_together(llm, recipe) if llm.is_sharded else llm
    folder = output_of(recipe, out)
    if first and whole is not None:
        whole._report = report  # noqa: SLF001 - its own package: it says what it wrote
        _save(whole, recipe, folder, overwrite=True)  # which was checked before the run began
    return folder


def save_checkpoint_as_model(
    checkpoint: Path, folder: Path, report: Report, *, overwrite: bool = False
) -> None:
    """Save what a checkpoint of `train` holds: a model's folder, or an adapter's.

    Args:
        checkpoint: A file, or a folder with a part from each process.
        folder: Where to.
        report: Is told what is done.
        overwrite: Whether another model in the folder is replaced.

    Raises:
        WouldOverwrite: The folder holds another model, and `overwrite` is not set.
        BadArgument: The checkpoint does not say of which model it is.
        BadCheckpoint: It cannot be read.

    """
    from litgpt.adapters.training.trainer_checkpoint import read_checkpoint

    content = read_checkpoint(checkpoint)
    settings = content.get("litgpt")
    if not isinstance(settings, dict) or "recipe" not in settings:
        expected = "a checkpoint of `litgpt finetune` or `litgpt pretrain`, which says of which model it is"
        remedy = "of a module of your own: trainer_setup(trainer_ckpt=…), then save()"
        raise BadArgument("model", str(checkpoint), f"{expected} ({remedy})")
    recipe = Recipe(**settings["recipe"])
    llm = _loaded(recipe)
    check_output(llm, recipe, folder, overwrite=overwrite)
    llm = _restored(llm, recipe, content["state_dict"], torch.float32, str(checkpoint))
    llm._report = report  # noqa: SLF001 - its own package: it says what it wrote
    _save(llm, recipe, folder, overwrite=overwrite)


def output_of(recipe: Recipe, out: Path) -> Path:
    """Return the folder of what is learnt, in the folder of the run."""
    return out / ("adapter" if recipe.adapts else "model")


def check_output(llm: LLM, recipe: Recipe, folder: Path, *, overwrite: bool) -> None:
    """Check that what is learnt may be saved in a folder.

    Raises:
        BadArgument: It is not a folder.
        WouldOverwrite: It holds another model or adapter, and `overwrite` is not set.

    """
    loaded = llm._loaded  # noqa: SLF001 - an LLM's own half
    if recipe.adapts:
        new = held_adapter(lasting_name(loaded.checkpoint.name), recipe.lora)
        container.overwriting().check(folder, new, overwrite=overwrite)
    else:
        container.save_model().check(loaded, folder, overwrite=overwrite)


def _save(llm: LLM, recipe: Recipe, folder: Path, *, overwrite: bool) -> None:
    style = style_to_learn(llm, recipe) if recipe.task == "finetune" else None
    if not recipe.adapts:
        llm.save(folder, prompt_style=style, overwrite=overwrite)
        return
    files = {} if style is None else _style_files(llm, style)
    llm._save_adapter(folder, files=files, overwrite=overwrite)  # noqa: SLF001 - an LLM's own half


def _style_files(llm: LLM, style: PromptStyle) -> dict[str, bytes]:
    """Return the files that tell of an adapter's prompt style: its name, and a tokenizer with a template."""
    loaded = llm._loaded  # noqa: SLF001 - an LLM's own half
    name, config = loaded.checkpoint.name, loaded.checkpoint.config
    found = container.tokenizer_files()(loaded.tokenizer_source, name=name)
    tokenizer = {file: content for file, content in found.items() if file not in CONFIGS}
    files = with_chat_template(tokenizer, exported_template(loaded.tokenizer, style))
    files[PROMPT_STYLE] = prompt_style_file(style.saved_as)
    ends = ends_to_write(loaded.tokenizer, style, trained=True)
    if generation := with_end_ids(ends, config, loaded.checkpoint.generation_config):
        files["generation_config.json"] = (json.dumps(generation, indent=2) + "\n").encode()
    return files


def _put_together(llm: LLM, recipe: Recipe) -> LLM | None:
    """Return a model with all the weights, at the first process; None at the others. All take part."""
    from litgpt.adapters.training.gathering import gathered

    state = gathered(llm)
    if not state:
        return None
    dtype = next(iter(state.values())).dtype
    return _restored(_loaded(recipe), recipe, state, dtype, "What was trained")


def _loaded(recipe: Recipe) -> LLM:
    return LLM.load(recipe.model, recipe.init, recipe.tokenizer_dir, distribute=None, quiet=True)


def _restored(llm: LLM, recipe: Recipe, state: Mapping[str, Tensor], dtype: torch.dtype, origin: str) -> LLM:
    """Return a recipe's model with the weights of a state dict, which is called `origin` in an error."""
    from litgpt.adapters.training.trainer_checkpoint import restore

    prepare(llm, recipe, dtype)
    assert llm.model is not None  # noqa: S101 - it has been prepared
    restore(llm.model, state, origin=origin, name=recipe.model)
    return llm


@contextmanager
def _reading_in(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
