"""Format answers as text or token ids, complete or streamed."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from litgpt.application.structured_output import OutputFormat
from litgpt.domain.generation.request import Completion, CompletionChunk

if TYPE_CHECKING:
    from torch import Tensor

AnswerChunk: TypeAlias = "str | Tensor"
"""An answer or a chunk of it: text, or token ids (T,)."""


def format_answer(answer: Completion, *, as_token_ids: bool, output: OutputFormat | None = None) -> Any:
    """Return the text of an answer, or its token ids, (T,), or what the text stands for.

    Raises:
        IncompleteAnswer: The answer does not have the form `output`.
    """
    if as_token_ids:
        return _tensor(answer.token_ids)
    return answer.text if output is None else output.value(answer)


def format_chunks(events: Iterator[CompletionChunk], *, is_batch: bool, as_token_ids: bool) -> Iterator[Any]:
    """Yield chunks of answers as they are generated, with the index of the prompt for a batch."""
    for event in events:
        tokens = () if event.token is None else (event.token,)
        if tokens if as_token_ids else event.text:
            piece = _tensor(tokens) if as_token_ids else event.text
            yield (event.index, piece) if is_batch else piece


def _tensor(ids: "tuple[int, ...]") -> "Tensor":
    import torch  # not needed for text

    return torch.tensor(ids, dtype=torch.long)
