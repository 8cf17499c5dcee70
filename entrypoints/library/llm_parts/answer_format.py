"""An answer in the form that the caller asked for: text or token ids, whole or as it comes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from litgpt.domain.generation.request import Completion, CompletionChunk

if TYPE_CHECKING:
    from torch import Tensor

AnswerChunk: TypeAlias = "str | Tensor"
"""An answer or a piece of it: text, or ids (T,)."""


def format_answer(answer: Completion, *, as_token_ids: bool) -> AnswerChunk:
    """Return an answer's text, or its ids as a tensor, (T,)."""
    return _tensor(answer.token_ids) if as_token_ids else answer.text


def format_chunks(events: Iterator[CompletionChunk], *, is_batch: bool, as_token_ids: bool) -> Iterator[Any]:
    """Yield the pieces of answers as they come, with the index of the prompt where there are several."""
    for event in events:
        tokens = () if event.token is None else (event.token,)
        if tokens if as_token_ids else event.text:
            piece = _tensor(tokens) if as_token_ids else event.text
            yield (event.index, piece) if is_batch else piece


def _tensor(ids: "tuple[int, ...]") -> "Tensor":
    import torch  # a chat's text needs none

    return torch.tensor(ids, dtype=torch.long)
