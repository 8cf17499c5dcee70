"""`NativeLLM`: generate with the native engine, without importing torch."""

from types import TracebackType
from typing import Any, Self

from litgpt.application.load_model import LoadedModel
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.ports import Generator, PlacedModel
from litgpt.llm_parts.conversation import ConversationMixin


class NativeLLM(ConversationMixin):
    """A model of the native engine with the generating methods of `LLM`.

    `LLM` is a torch module, and importing torch takes seconds. Commands that only generate use this class.
    """

    def __init__(self, loaded: LoadedModel[Any], placed: PlacedModel[Any]) -> None:
        self._loaded = loaded
        self._placed = placed

    @property
    def prompt_style(self) -> PromptStyle | None:
        """The prompt style; None: the tokenizer's chat template."""
        return self._loaded.prompt_style

    def close(self) -> None:
        """Free the memory."""
        self._placed.close()
        self._loaded.checkpoint.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _generator(self) -> Generator:
        return self._placed.generator()
