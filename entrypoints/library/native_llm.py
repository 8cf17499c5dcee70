"""`NativeLLM`: generate with the native engine, without importing torch."""

from typing import Any

from litgpt.application.load_model import LoadedModel
from litgpt.domain.ports import Generator, PlacedModel
from litgpt.llm_parts.generation import GenerationMixin


class NativeLLM(GenerationMixin):
    """A model of the native engine with the generating methods of `LLM`.

    `LLM` is a torch module, and importing torch takes seconds. Commands that only generate use this class.
    """

    def __init__(self, loaded: LoadedModel[Any], placed: PlacedModel[Any]) -> None:
        self._loaded = loaded
        self._placed = placed

    def close(self) -> None:
        """Free the memory."""
        self._placed.close()
        self._loaded.checkpoint.close()

    def _generator(self) -> Generator:
        return self._placed.generator()
