"""Score and embed given texts for the clients of a server, beside its engine."""

import asyncio
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from litgpt.application.scoring.embed_texts import normalized
from litgpt.application.scoring.prompt_logprobs import PromptLogprobs, prompt_logprobs
from litgpt.application.scoring.rerank import Rerank, RerankMethod, rank, rank_by_cosine
from litgpt.application.scoring.score_text import ScoreText, grouped
from litgpt.application.serving.errors import QueueFull
from litgpt.application.serving.served_model import ServedModel
from litgpt.domain.errors import InvalidArgument, TextTooLong
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.scoring.request import Pooling
from litgpt.domain.scoring.results import ContinuationScore, RankedDocument

ResultT = TypeVar("ResultT")
SequenceT = TypeVar("SequenceT", bound=Sequence[int])

MAX_TOKENS = 300_000
"""The most tokens of one request, as in OpenAI's API."""

_BATCH = 64
"""Texts that are computed together. Between two batches, a request can end and others have their turn."""

_BATCH_TOKENS = 8192
"""Their tokens together, so that a batch ends soon; one text may be longer."""

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
            for batch in _batches(sequences, len):
                embeddings += await self._compute(lambda it=batch: self._embed(it, pooling))  # type: ignore[misc]
        return embeddings

    async def score(self, pairs: Sequence[tuple[str, list[str]]]) -> list[list[ContinuationScore]]:
        """Return the scores of the continuations of each prompt.

        Raises:
            QueueFull: Too many requests wait.
            TextTooLong: A prompt and its continuation are longer than the context.
            InvalidArgument: A continuation adds no token, or there are more than `MAX_TOKENS`.
        """
        score = ScoreText(self._model.loaded().tokenizer, self._model.generator)
        scores: list[ContinuationScore] = []
        with self._admitted():
            requests = await asyncio.to_thread(score.encode, pairs)
            self._checked("continuations", [it.ids for it in requests])
            for batch in _batches(requests, lambda it: len(it.ids)):  # also within those of one prompt
                scores += await self._compute(lambda it=batch: score.scores(it))  # type: ignore[misc]
        return grouped(pairs, scores)

    async def rerank(
        self, query: str, documents: Sequence[str], method: RerankMethod, instruction: str | None
    ) -> tuple[list[RankedDocument], int]:
        """Return documents by their relevance to a query, as `LLM.rerank`, and the number of tokens read.

        Raises:
            QueueFull: Too many requests wait.
            TextTooLong: A text, or a prompt with it, is longer than the context.
            InvalidArgument: The prompts have more than `MAX_TOKENS`.
            UnsupportedPrompt: The model has no chat template for `yes_no`.
        """
        if method == "cosine":
            sequences = await self.encode("documents", [query, *documents], eos=True)
            return rank_by_cosine(await self.embed(sequences, "last")), sum(map(len, sequences))
        rerank = Rerank(self._model.loaded(), self._model.generator)
        scores: list[float] = []
        with self._admitted():
            asked = rerank.prompts(query, documents, instruction)
            prompts = await asyncio.to_thread(self._checked, "documents", asked)
            for batch in _batches(prompts, len):
                scores += await self._compute(lambda it=batch: rerank.answer_scores(it))  # type: ignore[misc]
        return rank(scores), sum(map(len, prompts))

    async def prompt_logprobs(self, requests: Sequence[GenerationRequest]) -> list[PromptLogprobs | None]:
        """Return the log-probabilities of the tokens of prompts, for the requests that ask for them.

        Raises:
            QueueFull: Too many requests wait.
            InvalidArgument: The prompts have more than `MAX_TOKENS`.
        """
        asked = [it for it in requests if it.prompt_logprobs is not None]
        if not asked:
            return [None] * len(requests)
        self._checked("prompt", [it.prompt for it in asked])
        found: list[PromptLogprobs | None] = []
        generator = self._model.generator
        with self._admitted():
            for batch in _batches(requests, lambda it: len(it.prompt)):
                found += await self._compute(lambda it=batch: prompt_logprobs(generator, it))  # type: ignore[misc]
        return found

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
        loaded = self._model.loaded()
        vocab_size = loaded.architecture.vocab_size

        def sequences() -> Iterator[list[int]]:
            for number, it in enumerate(inputs):
                ids = loaded.tokenizer.encode(it, eos=eos) if isinstance(it, str) else it
                if not ids:
                    raise InvalidArgument(f"{name}[{number}]", it, "at least one token long")
                if max(ids) >= vocab_size:
                    expected = f"made of token ids from 0 to {vocab_size - 1}"
                    raise InvalidArgument(f"{name}[{number}]", max(ids), expected)
                yield ids

        return self._checked(name, sequences())

    def _checked(self, name: str, sequences: Iterable[SequenceT]) -> list[SequenceT]:
        """Return sequences of tokens, of which no more than `MAX_TOKENS` are made."""
        context, total, checked = self._model.context, 0, []
        for ids in sequences:
            if len(ids) > context:
                raise TextTooLong(len(ids), context)
            total += len(ids)
            if total > MAX_TOKENS:
                raise InvalidArgument(name, f"more than {MAX_TOKENS} tokens", "sent in several requests")
            checked.append(ids)
        return checked


def _batches(values: Sequence[ResultT], size: Callable[[ResultT], int]) -> Iterator[Sequence[ResultT]]:
    """Yield values in order, until the sum of their sizes is that of a batch."""
    batch: list[ResultT] = []
    tokens = 0
    for value in values:
        if len(batch) == _BATCH or (batch and tokens + size(value) > _BATCH_TOKENS):
            yield batch
            batch, tokens = [], 0
        batch.append(value)
        tokens += size(value)
    if batch:
        yield batch
