"""Score and embed given texts for the clients of a server, beside its engine."""

import asyncio
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from litgpt.application.scoring.embed_texts import normalized
from litgpt.application.scoring.rerank import Rerank, RerankMethod
from litgpt.application.scoring.score_text import ScoreText
from litgpt.application.serving.errors import QueueFull
from litgpt.application.serving.served_model import ServedModel
from litgpt.domain.errors import InvalidArgument, TextTooLong
from litgpt.domain.scoring.request import Pooling
from litgpt.domain.scoring.results import ContinuationScore, RankedDocument

ResultT = TypeVar("ResultT")

MAX_TOKENS = 300_000
"""The most tokens of one request, as in OpenAI's API."""

_BATCH = 64
"""Texts that are computed together. Between two batches, a request can end and others have their turn."""

_RETRY_SECONDS = 5


class ScoringService:
    """Computes in one thread, so that requests of many clients take turns and the engine goes on.

    Args:
        model: The model.
        max_queued: The largest number of requests that wait.
    """

    def __init__(self, model: ServedModel, *, max_queued: int = 256) -> None:
        self._model, self._max_queued, self._num_requests = model, max_queued, 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="litgpt-scoring")

    def stop(self) -> None:
        """End the thread after the current batch."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def encode(
        self, name: str, inputs: Sequence[str | list[int]], *, eos: bool = False
    ) -> list[list[int]]:
        """Return the token ids of texts and of lists of token ids, which are checked.

        Args:
            name: The name of the field, for errors.
            inputs: Texts and lists of token ids.
            eos: Whether texts end with the token that the tokenizer's files add, as for embeddings.

        Raises:
            TextTooLong: One is longer than the context.
            InvalidArgument: A token id is outside the vocabulary, a text has no tokens, or the request has
                more than `MAX_TOKENS`.
        """
        return await asyncio.to_thread(self._encode, name, inputs, eos=eos)

    async def embed(self, sequences: Sequence[list[int]], pooling: Pooling) -> "list[array[float]]":
        """Return an embedding of each sequence, (D,) in float32, with a Euclidean norm of 1.

        Raises:
            QueueFull: Too many requests wait.
        """
        embeddings: list[array[float]] = []
        with self._admitted():
            for batch in _batches(sequences):
                embeddings += await self._compute(lambda it=batch: self._embed(it, pooling))  # type: ignore[misc]
        return embeddings

    async def score(self, pairs: Sequence[tuple[str, list[str]]]) -> list[list[ContinuationScore]]:
        """Return the scores of the continuations of each prompt.

        Raises:
            QueueFull: Too many requests wait.
            TextTooLong: A prompt and its continuation are longer than the context.
        """
        score = ScoreText(self._model.loaded().tokenizer, self._model.generator)
        scores: list[list[ContinuationScore]] = []
        with self._admitted():
            for batch in _batches(pairs):
                scores += await self._compute(lambda it=batch: score.continuations(it))  # type: ignore[misc]
        return scores

    async def rerank(
        self, query: str, documents: Sequence[str], method: RerankMethod, instruction: str | None
    ) -> list[RankedDocument]:
        """Return documents by their relevance to a query; see `LLM.rerank`.

        Raises:
            QueueFull: Too many requests wait.
            TextTooLong: A text, or a prompt with it, is longer than the context.
            UnsupportedPrompt: The model has no chat template for `yes_no`.
        """
        rerank = Rerank(self._model.loaded(), self._model.generator)
        with self._admitted():
            if method == "cosine":
                return await self._compute(lambda: rerank.by_cosine(query, documents))
            return await self._compute(lambda: rerank.by_answer(query, documents, instruction))

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        if self._num_requests > self._max_queued:
            raise QueueFull(self._num_requests, _RETRY_SECONDS)
        self._num_requests += 1
        try:
            yield
        finally:
            self._num_requests -= 1

    async def _compute(self, function: Callable[[], ResultT]) -> ResultT:
        def compute() -> ResultT:
            with self._model.using():
                return function()

        return await asyncio.get_running_loop().run_in_executor(self._thread, compute)

    def _embed(self, sequences: Sequence[list[int]], pooling: Pooling) -> "list[array[float]]":
        return [normalized(it) for it in self._model.generator.embed(sequences, pooling)]

    def _encode(self, name: str, inputs: Iterable[str | list[int]], *, eos: bool) -> list[list[int]]:
        loaded, context = self._model.loaded(), self._model.context
        vocab_size, total = loaded.architecture.vocab_size, 0
        encoded = []
        for number, it in enumerate(inputs):
            ids = loaded.tokenizer.encode(it, eos=eos) if isinstance(it, str) else it
            if not ids:
                raise InvalidArgument(f"{name}[{number}]", it, "at least one token long")
            if max(ids) >= vocab_size:
                expected = f"made of token ids from 0 to {vocab_size - 1}"
                raise InvalidArgument(f"{name}[{number}]", max(ids), expected)
            if len(ids) > context:
                raise TextTooLong(len(ids), context)
            total += len(ids)
            if total > MAX_TOKENS:
                raise InvalidArgument(name, f"more than {MAX_TOKENS} tokens", "sent in several requests")
            encoded.append(ids)
        return encoded


def _batches(values: Sequence[ResultT]) -> Iterator[Sequence[ResultT]]:
    return (values[at : at + _BATCH] for at in range(0, len(values), _BATCH))
