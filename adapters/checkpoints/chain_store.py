"""A store that searches several stores in order."""

from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from itertools import islice
from typing import Generic, TypeVar

import attrs

from litgpt.domain.errors import HubUnreachable, LitGPTError, ModelNotFound
from litgpt.domain.ports import Checkpoint, ModelStore
from litgpt.domain.reference import ModelReference

TensorT_co = TypeVar("TensorT_co", covariant=True)

MAX_NAMES = 5000
"""Maximum number of names compared for suggestions; this takes about a tenth of a second."""

MAX_SUGGESTIONS = 3


@attrs.frozen
class ChainStore(Generic[TensorT_co]):
    """Opens a model from the first store that has it.

    Only a ModelNotFound continues the search. Any other error ends it, so that a broken model is not replaced
    silently by another of the same name.
    """

    stores: Sequence[ModelStore[TensorT_co]]

    @property
    def location(self) -> str:
        return "; ".join(store.location for store in self.stores)

    def names(self) -> Iterator[str]:
        seen = set()
        for store in self.stores:
            for name in _names(store):
                if name not in seen:
                    seen.add(name)
                    yield name

    def open(self, reference: ModelReference) -> Checkpoint[TensorT_co]:
        searched: list[str] = []
        hints: list[str] = []
        for store in self.stores:
            try:
                return store.open(reference)
            except ModelNotFound as error:
                searched.extend(error.searched or (store.location,))
                hints.extend([error.hint] if error.hint else [])
            except HubUnreachable as error:
                error.searched, error.hint = tuple(searched), " ".join(hints)
                raise
        raise ModelNotFound(reference.name, tuple(searched), self._similar(reference.name), " ".join(hints))

    def _similar(self, name: str) -> tuple[str, ...]:
        """Return similar names, ignoring case and the organization prefix."""
        by_spelling: dict[str, list[str]] = {}
        for known in islice(self.names(), MAX_NAMES):
            for spelling in {known.lower(), known.lower().rpartition("/")[2]}:
                by_spelling.setdefault(spelling, []).append(known)
        lowered = name.lower()
        close = get_close_matches(lowered, by_spelling, n=MAX_SUGGESTIONS)
        close += get_close_matches(lowered.rpartition("/")[2], by_spelling, n=MAX_SUGGESTIONS)
        similar = dict.fromkeys(known for spelling in close for known in by_spelling[spelling])
        return tuple(islice(similar, MAX_SUGGESTIONS))


class DeferredStore(Generic[TensorT_co]):
    """A store that is created when the stores before it do not have a model."""

    def __init__(self, create: Callable[[], ModelStore[TensorT_co]]) -> None:
        self._store = cache(create)

    @property
    def location(self) -> str:
        return self._store().location

    def names(self) -> Iterator[str]:
        yield from self._store().names()

    def open(self, reference: ModelReference) -> Checkpoint[TensorT_co]:
        return self._store().open(reference)


def _names(store: ModelStore[object]) -> Iterator[str]:
    """Yield a store's names. An error while listing them must not hide that the model was not found."""
    try:
        yield from store.names()
    except (LitGPTError, OSError):
        return
