"""`NativeLLM`: generate with the native engine, without importing torch."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from litgpt.application.concurrency.model_lock import ModelLock
from litgpt.application.concurrency.shared_generator import SharedGenerator
from litgpt.application.load_model import LoadedModel
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.ports import Generator, PlacedModel
from litgpt.llm_parts.conversation import ConversationMixin

if TYPE_CHECKING:
    from litgpt.llm import LLM


class NativeLLM(ConversationMixin):
    """A model of the native engine with the generating methods of `LLM`.

    `LLM` is a torch module, and importing torch takes seconds. Commands that generate use this class, which
    makes an `LLM` of itself when an adapter is loaded; its conversations continue with that.
    """

    def __init__(
        self,
        loaded: LoadedModel[Any],
        placed: PlacedModel[Any],
        make_llm: "Callable[[LoadedModel[Any], PlacedModel[Any]], LLM]",
    ) -> None:
        self._loaded = loaded
        self._placed = placed
        self._make_llm = make_llm
        self._llm: LLM | None = None
        self._lock = ModelLock()

    @property
    def prompt_style(self) -> PromptStyle | None:
        return self._loaded.prompt_style

    @property
    def adapters(self) -> tuple[str, ...]:
        return () if self._llm is None else self._llm.adapters

    @property
    def active_adapter(self) -> str | None:
        return None if self._llm is None else self._llm.active_adapter

    def load_adapter(self, path: str, name: str) -> None:
        """Load an adapter, and activate it."""
        self._full_llm().load_adapter(path, name)

    def set_adapter(self, name: str | None) -> None:
        """Activate another adapter, or the base model."""
        self._full_llm().set_adapter(name)

    def close(self) -> None:
        """Free the memory."""
        if self._llm is not None:
            self._llm.close()
        self._placed.close()
        self._loaded.checkpoint.close()

    def _full_llm(self) -> "LLM":
        if self._llm is None:
            self._llm = self._make_llm(self._loaded, self._placed)
        return self._llm

    def _generator(self) -> Generator:
        return SharedGenerator(self._lock, self._current_generator)

    def _current_generator(self) -> Generator:
        if self._llm is None:
            return self._placed.generator()
        return self._llm._generator()  # noqa: SLF001 - of the same base class
