"""Find something by a model's name, wherever it may be."""

from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

from litgpt.domain.errors import ModelNotFound
from litgpt.domain.reference import ModelReference

FoundT = TypeVar("FoundT")


@attrs.frozen
class FirstMatch(Generic[FoundT]):
    """Asks one place after another, for a tokenizer or for a config; the first that has it answers.

    Attributes:
        sources: In the order in which they are asked. Each raises ModelNotFound for what it does not have.

    """

    sources: tuple[Callable[[ModelReference], FoundT], ...]

    def __call__(self, reference: ModelReference) -> FoundT:
        """Return what was looked for.

        Raises:
            ModelNotFound: Nobody has it; the error says where it was looked for.

        """
        said: list[ModelNotFound] = []
        for place in self.sources:
            try:
                return place(reference)
            except ModelNotFound as error:
                said.append(error)
        raise ModelNotFound(
            reference.name,
            searched=tuple(one for error in said for one in error.searched),
            similar=tuple(dict.fromkeys(one for error in said for one in error.similar)),
            hint=" ".join(error.hint for error in said if error.hint),
        )
