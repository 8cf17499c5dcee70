"""An answer in the form that the caller asked for: text or token ids, whole or as it comes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from litgpt.domain.generation import Completion, TextEvent

if TYPE_CHECKING:
    from torch import Tensor

Part: TypeAlias = "str | Tensor"
"""An answer or a piece of it: text, or ids (T,)."""


def whole(answer: Completion, *, ids: bool) -> Part:
    """Return an answer's text, or its ids as a tensor, (T,)."""
    return _tensor(answer.token_ids) if ids else answer.text


def pieces(events: Iterator[TextEvent], *, several: bool, ids: bool) -> Iterator[Any]:
    """Yield the pieces of answers as they come, with the index of the prompt where there are several."""
    for event in events:
        tokens = () if event.token is None else (event.token,)
        if tokens if ids else event.text:
            piece = _tensor(tokens) if ids else event.text
            yield (event.index, piece) if several else piece


def _tensor(ids: "tuple[int, ...]") -> "Tensor":
    import torch  # a chat's text needs none

    return torch.tensor(ids, dtype=torch.long)
