"""Save a model so that it can be opened again, here and by others."""

from pathlib import Path
from typing import Generic, TypeVar

import attrs

from litgpt.application.exporting import ends_to_write, exported_template, with_end_ids
from litgpt.application.loading import LoadedModel
from litgpt.domain.families import family_of, saved_config
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

    """

    strategy: DistributionStrategy[TensorT, ModelT]
    tokenizer_files: TokenizerFilesOf
    write: WriteModel[TensorT]

    def __call__(
        self,
        loaded: LoadedModel[TensorT],
        model: ModelT,
        folder: Path,
        report: Report,
        *,
        prompt_style: PromptStyle | None = None,
    ) -> None:
        """Save it.

        Args:
            loaded: What the model was built from.
            model: The model.
            folder: Where to.
            report: Told of the progress.
            prompt_style: A style to save in place of the one that was loaded with the model.

        Raises:
            OutOfReach: The disk has not the room, or the folder cannot be written to.
            WorkerLost: A process that computed a part of the model is gone.

        """
        checkpoint = loaded.checkpoint
        style = prompt_style or loaded.style
        # A model that only continues text has no prompt format for others to use, unless one is asked for.
        export = prompt_style or (None if style is PLAIN else style)
        tokenizer, config = loaded.tokenizer, checkpoint.config
        written = joins(loaded.architecture, family_of(checkpoint.name, config).weights)
        with self.strategy.weights(model, tuple(written)) as weights:
            if weights is None:
                return  # another process has written it
            self.write(
                folder,
                ModelToWrite(
                    name=checkpoint.name,
                    architecture=loaded.architecture,
                    config={**saved_config(config), "tie_word_embeddings": loaded.architecture.tied},
                    generation_config=with_end_ids(
                        ends_to_write(tokenizer, style, trained=prompt_style is not None),
                        config,
                        checkpoint.generation_config,
                    ),
                    prompt_style=None if style is None else style.saved_as,
                    tokenizer=self.tokenizer_files(loaded.tokenizer_source, name=checkpoint.name),
                    chat_template=None if export is None else exported_template(tokenizer, export),
                    weights=weights,
                ),
                report,
            )
