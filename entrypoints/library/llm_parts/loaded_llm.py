"""What the parts of a model that generate text need of it."""

from typing import Any

from litgpt.application.load_model import LoadedModel
from litgpt.domain.ports import Generator


class LoadedLLM:
    """A loaded model with a generator; does not need torch."""

    _loaded: LoadedModel[Any]

    def _generator(self) -> Generator:
        """Return a generator; raise NotDistributed if the model is not on a device."""
        raise NotImplementedError
