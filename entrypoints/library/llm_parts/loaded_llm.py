"""What the parts of a model that generate text need of it."""

from types import TracebackType
from typing import Any, Self

from litgpt.application.load_model import LoadedModel
from litgpt.domain.ports import Generator


class LoadedLLM:
    """A loaded model with a generator; does not need torch. Leaving its `with` block closes it."""

    _loaded: LoadedModel[Any]

    def close(self) -> None:
        """Free the memory."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _generator(self) -> Generator:
        """Return a generator; raise NotDistributed if the model is not on a device."""
        raise NotImplementedError
