"""Save a model so that it can be opened again, here and by others."""

from pathlib import Path
from typing import Generic, TypeVar

import attrs

from litgpt.application.exporting import ends_to_write, exported_template, with_end_ids
from litgpt.application.loading import LoadedModel
from litgpt.application.overwriting import Overwriting
from litgpt.domain.families import family_of, saved_config
from litgpt.domain.overwriting import held_model
from litgpt.domain.ports import DistributionStrategy, ModelToWrite, TokenizerFilesOf, WriteModel
from litgpt.domain.prompts.questions import PLAIN
from litgpt.domain.prompts.style import PromptStyle
from litgpt.domain.reporting import Report
from litgpt.domain.weights import joins

TensorT = TypeVar("TensorT")
ModelT = TypeVar("ModelT")


@attrs.frozen
class SaveModel(Generic[TensorT, ModelT]):
    """Writes a model that runs, as it is now, with all that belongs to it.

    Attributes:
        strategy: What built the model.
        tokenizer_files: Writes its tokenizer down.
        write: Writes the folder.
        overwriting: Decides whether the folder may be written to.

    """

    strategy: DistributionStrategy[TensorT, ModelT]
    tokenizer_files: TokenizerFilesOf
    write: WriteModel[TensorT]
    overwriting: Overwriting

    def check(self, loaded: LoadedModel[TensorT], folder: Path, *, overwrite: bool = False) -> None:
        """Check that a model may be saved into a folder.

        Raises:
            BadArgument: It is not a folder.
            WouldOverwrite: It holds another model, and `overwrite` is not set.

        """
        self.overwriting.check(folder, held_model(_config(loaded)), overwrite=overwrite)

    def __call__(
        self,
        loaded: LoadedModel[TensorT],
        model: ModelT,
        folder: Path,
        report: Report,
        *,
        prompt_style: PromptStyle | None = None,
        overwrite: bool = False,
    ) -> None:
        """Save it.

        Args:
            loaded: What the model was built from.
            model: The model.
            folder: Where to.
            report: Told of the progress.
            prompt_style: A style to save in place of the one that was loaded with the model.
            overwrite: Whether another model in the folder is replaced.

        Raises:
            WouldOverwrite: The folder holds another model, and `overwrite` is not set.
            OutOfReach: The disk has not the room, or the folder cannot be written to.
            WorkerLost: A process that computed a part of the model is gone.

        """
        self.check(loaded, folder, overwrite=overwrite)
        checkpoint = loaded.checkpoint
        style = prompt_style or loaded.style
        # A model that only continues text has no prompt format for others to use, unless one is asked for.
        export = prompt_style or (None if style is PLAIN else style)
        tokenizer = loaded.tokenizer
        written = joins(loaded.architecture, family_of(checkpoint.name, checkpoint.config).weights)
        with self.strategy.weights(model, tuple(written)) as weights:
            if weights is None:
                return  # another process has written it
            config = _config(loaded)
            if weights.quantization is not None:
                config["quantization_config"] = weights.quantization
            new = held_model(config)
            with self.overwriting.writing(folder, new, report, overwrite=overwrite):
                self.write(
                    folder,
                    ModelToWrite(
                        name=checkpoint.name,
                        config=_config(loaded),
                        generation_config=with_end_ids(
                            ends_to_write(tokenizer, style, trained=prompt_style is not None),
                            checkpoint.config,
                            checkpoint.generation_config,
                        ),
                        prompt_style=None if style is None else style.saved_as,
                        tokenizer=self.tokenizer_files(loaded.tokenizer_source, name=checkpoint.name),
                        chat_template=None if export is None else exported_template(tokenizer, export),
                        weights=weights,
                    ),
                    report,
                )


def _config(loaded: LoadedModel[TensorT]) -> dict[str, object]:
    """Return the contents of `config.json`."""
    return {**saved_config(loaded.checkpoint.config), "tie_word_embeddings": loaded.architecture.tied}
