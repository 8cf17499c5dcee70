"""`LLM.serve`: an HTTP server for the model."""

from pathlib import Path

from litgpt.application.serving.served_model import ServedModel
from litgpt.llm_parts.generation import GenerationMixin


class ServingMixin(GenerationMixin):
    """An HTTP server."""

    def _served_model(self, name: str | None = None) -> ServedModel:
        """Return the model as a server uses it."""
        generator = self._generator()
        placed = self._placed
        return ServedModel(
            name=name or Path(self._loaded.checkpoint.name).name,
            loaded=lambda: self._loaded,
            generator=generator,
            compiler=self._services.constraint_compiler,
            version=lambda: (self._lock.version, self._weights_version()),
            using=self._lock.using,
            nbytes=getattr(placed, "nbytes", None),
        )
