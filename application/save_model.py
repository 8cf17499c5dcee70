"""Save a model as a folder that this library and others can load."""

from os.path import realpath
from pathlib import Path
from typing import Generic

import attrs

from litgpt.application.export_prompt_style import (
    export_chat_template,
    exported_stop_token_ids,
    with_stop_token_ids,
)
from litgpt.application.files.overwrite_guard import OverwriteGuard
from litgpt.application.load_model import LoadedModel, TensorT
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.chat.styles.single_turn_styles import PLAIN
from litgpt.domain.families import config_to_save, family_of
from litgpt.domain.overwrite_check import model_content
from litgpt.domain.ports import ExportTokenizer, ModelToSave, PlacedModel, WriteModel
from litgpt.domain.progress import Reporter
from litgpt.domain.weights.mapping import ParameterSource, map_parameters


@attrs.frozen
class SaveModel(Generic[TensorT]):
    """Saves the current weights of a model with its config, tokenizer and chat template."""

    export_tokenizer: ExportTokenizer
    write: WriteModel[TensorT]
    overwrite_guard: OverwriteGuard

    def check(
        self, loaded: LoadedModel[TensorT], folder: Path, *, overwrite: bool = False, is_copy: bool = False
    ) -> None:
        """Check that a model may be saved into a folder.

        With `is_copy`, the weights are unchanged and may replace only their own source.
        """
        source = loaded.checkpoint.folder
        is_copy = is_copy and not (source is not None and realpath(source) == realpath(folder))
        new = attrs.evolve(model_content(_config(loaded)), is_copy=is_copy)
        self.overwrite_guard.check(folder, new, overwrite=overwrite)

    def __call__(
        self,
        loaded: LoadedModel[TensorT],
        placed: PlacedModel[TensorT],
        folder: Path,
        report: Reporter,
        *,
        prompt_style: PromptStyle | None = None,
        overwrite: bool = False,
        is_copy: bool = False,
    ) -> None:
        """Save a model; `prompt_style` replaces its style, `is_copy` is as for `check`.

        Raises:
            WouldOverwrite: The folder contains another model, and `overwrite` is False.
            UnsupportedOperation: There is not enough disk space, or the folder is not writable.
            WorkerLost: A worker process is gone.
        """
        self.check(loaded, folder, overwrite=overwrite, is_copy=is_copy)
        checkpoint = loaded.checkpoint
        style = prompt_style or loaded.prompt_style
        # Base models without a prompt format are saved without a chat template.
        export = prompt_style or (None if style is PLAIN else style)
        tokenizer = loaded.tokenizer
        with placed.weights(written_sources(loaded)) as weights:
            if weights is None:
                return  # another process has written it
            config = _config(loaded)
            if weights.quantization is not None:
                config["quantization_config"] = weights.quantization
            new = model_content(config)
            with self.overwrite_guard.guard(folder, new, report, overwrite=overwrite):
                self.write(
                    folder,
                    ModelToSave(
                        name=checkpoint.name,
                        config=_config(loaded),
                        generation_config=with_stop_token_ids(
                            exported_stop_token_ids(tokenizer, style, trained=prompt_style is not None),
                            checkpoint.config,
                            checkpoint.generation_config,
                        ),
                        prompt_style=None if style is None else style.litgpt_name,
                        tokenizer=self.export_tokenizer(loaded.tokenizer_source, name=checkpoint.name),
                        chat_template=None if export is None else export_chat_template(tokenizer, export),
                        weights=weights,
                    ),
                    report,
                )


def written_sources(loaded: LoadedModel[TensorT]) -> tuple[ParameterSource, ...]:
    """Return the tensors, by the names that transformers writes, in which each parameter is saved."""
    checkpoint = loaded.checkpoint
    if loaded.is_bridged:
        return loaded.weight_sources
    family = family_of(checkpoint.name, checkpoint.config)
    return tuple(map_parameters(loaded.architecture, family.weights))


def _config(loaded: LoadedModel[TensorT]) -> dict[str, object]:
    return {
        **config_to_save(loaded.checkpoint.config),
        "tie_word_embeddings": loaded.architecture.tie_word_embeddings,
    }
