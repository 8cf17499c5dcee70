"""Several stores, asked one after another."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Generic, TypeVar

import attrs

from litgpt.domain.errors import LitGPTError, ModelNotFound
from litgpt.domain.ports import Checkpoint, ModelStore
from litgpt.domain.reference import ModelReference

TensorT_co = TypeVar("TensorT_co", covariant=True)

MAX_NAMES = 5000
"""Names that are compared with one that was not found; the comparison takes about a tenth of a second."""

MAX_SUGGESTIONS = 3


@attrs.frozen
class ChainStore(Generic[TensorT_co]):
    """Asks each store in turn; the first that has the model opens it.

    Only a ModelNotFound passes the question on. A store that has the model and cannot use it ends the search,
    so that nobody gets another model of the same name without knowing.

    Attributes:
        stores: In the order in which they are asked. Any ModelStore can be one.

    """

    stores: Sequence[ModelStore[TensorT_co]]

    @property
    def location(self) -> str:
        """Where these stores look, in words."""
        return "; ".join(store.location for store in self.stores)

    def names(self) -> Iterator[str]:
        """Yield the names of every store, each once."""
        seen = set()
        for store in self.stores:
            for name in _names(store):
                if name not in seen:
                    seen.add(name)
                    yield name

    def open(self, reference: ModelReference) -> Checkpoint[TensorT_co]:
        """Open a model in the first store that has it.

        Raises:
            ModelNotFound: None has it; the error says where each looked and which names are similar.
            LitGPTError: What any other error of a store says.

        """
        searched: list[str] = []
        hints: list[str] = []
        for store in self.stores:
            try:
                return store.open(reference)
            except ModelNotFound as error:
                searched.extend(error.searched or (store.location,))
                hints.extend([error.hint] if error.hint else [])
        raise ModelNotFound(reference.name, tuple(searched), self._similar(reference.name), " ".join(hints))

    def _similar(self, name: str) -> tuple[str, ...]:
        """Return names like this one, whatever their case, and with or without their organization."""
        by_spelling: dict[str, list[str]] = {}
        for known in islice(self.names(), MAX_NAMES):
            for spelling in {known.lower(), known.lower().rpartition("/")[2]}:
                by_spelling.setdefault(spelling, []).append(known)
        asked = name.lower()
        close = get_close_matches(asked, by_spelling, n=MAX_SUGGESTIONS)
        close += get_close_matches(asked.rpartition("/")[2], by_spelling, n=MAX_SUGGESTIONS)
        found = dict.fromkeys(known for spelling in close for known in by_spelling[spelling])
        return tuple(islice(found, MAX_SUGGESTIONS))


def _names(store: ModelStore[object]) -> Iterator[str]:
    """Yield a store's names. One that fails to list them must not hide the answer that nothing was found."""
    try:
        yield from store.names()
    except (LitGPTError, OSError):
        return
