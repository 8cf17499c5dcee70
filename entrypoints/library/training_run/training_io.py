"""Set up a model for training, and save the trained model or adapter."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os.path import realpath
from pathlib import Path
from typing import Any, Self

import attrs
import torch
from torch import Tensor

from litgpt.adapters.checkpoints.hf.config_files import (
    PROMPT_STYLE,
    prompt_style_file,
    with_chat_template,
)
from litgpt.application.export_prompt_style import (
    export_chat_template,
    exported_stop_token_ids,
    with_stop_token_ids,
)
from litgpt.application.load_model import LoadedModel
from litgpt.application.training.encode_example import training_style
from litgpt.domain.chat.styles import find_style
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.chat.styles.single_turn_styles import PLAIN
from litgpt.domain.distribution.placement import Hardware
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.overwrite_check import adapter_content
from litgpt.domain.progress import Reporter
from litgpt.domain.reference import absolute_name
from litgpt.domain.tokenizer_source import CONFIG_FILES
from litgpt.domain.training.config import TrainConfig
from litgpt.llm import LLM


class RunLLM(LLM):
    """An `LLM` with the methods that a training run needs beyond the public ones."""

    @classmethod
    def open(cls, config: TrainConfig) -> Self:
        """Open the model of a run, without reading its weights."""
        return cls.load(config.model, config.init, config.tokenizer_dir, distribute=None, quiet=True)

    @property
    def loaded(self) -> LoadedModel[Tensor]:
        return self._loaded

    def hardware(self) -> Hardware:
        return self._services.strategy.hardware()

    def report_to(self, report: Reporter) -> None:
        self._report = report

    def training_style(self, config: TrainConfig) -> PromptStyle | None:
        """Return the prompt style of the training examples; None: the chat template.

        The style is, in this order: the configured style, the style or chat template of the model, `alpaca`.
        """
        if config.prompt_style is not None:
            return find_style(config.prompt_style)
        own = self.prompt_style
        return training_style(self.tokenizer.port, None if own is PLAIN else own)

    def check_output(
        self, config: TrainConfig, folder: Path, *, overwrite: bool, is_copy: bool = False
    ) -> None:
        """Raise if the trained model or adapter cannot be saved in a folder."""
        if config.uses_lora:
            new = adapter_content(absolute_name(self._loaded.checkpoint.name), config.lora_config)
            new = attrs.evolve(new, is_copy=is_copy)
            self._services.overwrite_guard.check(folder, new, overwrite=overwrite)
        else:
            self._services.save_model.check(self._loaded, folder, overwrite=overwrite, is_copy=is_copy)

    def save_output(self, config: TrainConfig, folder: Path, report: Reporter) -> None:
        """Save the trained model or adapter in a folder, which `check_output` has checked."""
        self._report = report
        style = self.training_style(config) if config.task == "finetune" else None
        if not config.uses_lora:
            self.save(folder, prompt_style=style, overwrite=True)
            return
        files = {} if style is None else self._style_files(style)
        self._save_adapter(folder, files=files, overwrite=True)

    def _style_files(self, style: PromptStyle) -> dict[str, bytes]:
        """Return files that describe an adapter's prompt style: its name and a tokenizer with a template."""
        loaded = self._loaded
        name, config = loaded.checkpoint.name, loaded.checkpoint.config
        exported = self._services.export_tokenizer(loaded.tokenizer_source, name=name)
        tokenizer = {file: content for file, content in exported.items() if file not in CONFIG_FILES}
        files = with_chat_template(tokenizer, export_chat_template(loaded.tokenizer, style))
        files[PROMPT_STYLE] = prompt_style_file(style.litgpt_name)
        ends = exported_stop_token_ids(loaded.tokenizer, style, trained=True)
        if generation := with_stop_token_ids(ends, config, loaded.checkpoint.generation_config):
            files["generation_config.json"] = (json.dumps(generation, indent=2) + "\n").encode()
        return files


def setup_for_training(llm: LLM, config: TrainConfig, dtype: torch.dtype, mesh: Any = None) -> None:
    """Load the weights of a model, sharded over `mesh` if set, and enable gradients where trained."""
    with _default_dtype(dtype):
        llm.trainer_setup(quantize=config.quantization)
    assert llm.model is not None  # noqa: S101 - set by trainer_setup
    llm.model.gradient_checkpointing = config.gradient_checkpointing
    if config.uses_lora:
        lora = config.lora_config
        try:
            llm.add_lora(lora.rank, lora.alpha, lora.dropout, lora.targets)
        except InvalidArgument as error:
            error.name = {"targets": "lora_targets"}.get(error.name, error.name)
            raise
    if mesh is not None:
        llm.shard(mesh)


def save_trained(
    llm: RunLLM, config: TrainConfig, out: Path, report: Reporter, *, first: bool = True
) -> Path:
    """Save the trained weights as `model` or `adapter` in a folder, and return it.

    All processes over which a model is sharded call this; the one with `first` writes the files.
    """
    full = gather_full_model(llm, config) if llm.is_sharded else llm
    folder = output_folder(config, out)
    if first and full is not None:
        full.save_output(config, folder, report)
    return folder


def save_checkpoint_as_model(
    checkpoint: Path, folder: Path, report: Reporter, *, overwrite: bool = False
) -> None:
    """Save a checkpoint of `train`, a file or a sharded folder, as the folder of a model or adapter.

    Raises:
        WouldOverwrite: The folder contains another model, and `overwrite` is False.
        InvalidArgument: The checkpoint does not contain the configuration of its run.
        InvalidCheckpoint: The checkpoint cannot be read.
    """
    from litgpt.adapters.training.checkpoint_reader import read_checkpoint

    content = read_checkpoint(checkpoint)
    settings = content.get("litgpt")
    if not isinstance(settings, dict) or "recipe" not in settings:
        expected = "a checkpoint of `litgpt finetune` or `litgpt pretrain`, which names its model"
        remedy = "for another LightningModule, use trainer_setup(trainer_ckpt=…), then save()"
        raise InvalidArgument("model", str(checkpoint), f"{expected} ({remedy})")
    config = TrainConfig(**settings["recipe"])
    llm = RunLLM.open(config)
    own = output_folder(config, checkpoint.absolute().parent.parent)
    llm.check_output(config, folder, overwrite=overwrite, is_copy=realpath(folder) != realpath(own))
    llm = _restore_model(llm, config, content["state_dict"], torch.float32, str(checkpoint))
    llm.save_output(config, folder, report)


def output_folder(config: TrainConfig, out: Path) -> Path:
    """Return the folder of the trained model or adapter."""
    return out / ("adapter" if config.uses_lora else "model")


def gather_full_model(llm: RunLLM, config: TrainConfig) -> RunLLM | None:
    """Return a model with the full weights on rank 0, None on other ranks; all ranks call this."""
    from litgpt.adapters.training.fsdp_strategy import gather_full_state_dict

    state = gather_full_state_dict(llm)
    if not state:
        return None
    dtype = next(iter(state.values())).dtype
    return _restore_model(RunLLM.open(config), config, state, dtype, "The trained model")


def _restore_model(
    llm: RunLLM, config: TrainConfig, state: Mapping[str, Tensor], dtype: torch.dtype, origin: str
) -> RunLLM:
    """Return the model of a run with the weights of a state dict; `origin` names it in errors."""
    from litgpt.adapters.training.checkpoint_reader import restore

    setup_for_training(llm, config, dtype)
    assert llm.model is not None  # noqa: S101 - set by trainer_setup
    restore(llm.model, state, origin=origin, name=config.model)
    return llm


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
