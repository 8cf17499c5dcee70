"""Look up a model reference in several sources."""

from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

from litgpt.domain.errors import HubUnreachable, ModelNotFound
from litgpt.domain.reference import ModelReference

FoundT = TypeVar("FoundT")


@attrs.frozen
class FirstMatch(Generic[FoundT]):
    """Returns a tokenizer or config from the first source that has it; the others raise ModelNotFound."""

    sources: tuple[Callable[[ModelReference], FoundT], ...]

    def __call__(self, reference: ModelReference) -> FoundT:
        """Return the first result; if there is none, the ModelNotFound lists the searched locations."""
        errors: list[ModelNotFound] = []
        for source in self.sources:
            try:
                return source(reference)
            except ModelNotFound as error:
                errors.append(error)
            except HubUnreachable as error:
                error.searched = tuple(location for found in errors for location in found.searched)
                error.hint = " ".join(found.hint for found in errors if found.hint)
                raise
        raise ModelNotFound(
            reference.name,
            searched=tuple(location for error in errors for location in error.searched),
            similar=tuple(dict.fromkeys(name for error in errors for name in error.similar)),
            hint=" ".join(error.hint for error in errors if error.hint),
        )
