"""What a server needs of a model."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import attrs

from litgpt.application.load_model import LoadedModel
from litgpt.domain.errors import LitGPTError
from litgpt.domain.formatting.bounded_text import join_names, short_repr
from litgpt.domain.ports import ConstraintCompiler, Generator


@attrs.define(eq=False)
class UnknownModel(LitGPTError, LookupError):
    """A request names a model that is not served."""

    model: str
    served: Sequence[str]

    def __str__(self) -> str:
        return (
            f"The model {short_repr(self.model)} is not served. Set model to {join_names(self.served)}, "
            "or leave it out."
        )


@attrs.define(eq=False, kw_only=True)
class ServedModel:
    """A model on its devices, and how requests use it.

    Attributes:
        name: Its name in the API.
        loaded: Its tokenizer, prompt style and sampling parameters. A function, as the style may be set.
        generator: A thread-safe generator.
        compiler: Compiles constraints.
        version: Returns a value that changes with the weights.
        using: Returns a context manager that keeps the weights as they are.
        adapters: Returns the names of the adapters that requests may use.
        nbytes: The bytes of the weights; None: unknown.
    """

    name: str
    loaded: Callable[[], LoadedModel[Any]]
    generator: Generator
    compiler: ConstraintCompiler
    version: Callable[[], object] = lambda: None
    using: Callable[[], AbstractContextManager[object]] = nullcontext
    adapters: Callable[[], Sequence[str]] = tuple
    nbytes: int | None = None
    _context: tuple[object, int] | None = attrs.field(default=None, init=False)

    @property
    def context(self) -> int:
        """The context length in tokens, which is read from the generator when `version` has changed."""
        # A generator waits for changes of the model, which wait for all running answers.
        version, known = self.version(), self._context
        if known is None or known[0] != version:
            known = self._context = (version, self.generator.context)
        return known[1]

    def names(self) -> list[str]:
        """Return the names that requests may use: the model's, then `model:adapter` for each adapter."""
        return [self.name, *(f"{self.name}:{adapter}" for adapter in self.adapters())]

    def adapter_of(self, model: str | None) -> str | None:
        """Return the adapter that the name of a model in a request selects; None: the model itself.

        Raises:
            UnknownModel: The name is another one.
        """
        if model is None or model == self.name:
            return None
        name, separator, adapter = model.partition(":")
        if separator and name == self.name and adapter in self.adapters():
            return adapter
        if model in self.adapters():
            return model
        raise UnknownModel(model, self.names())
