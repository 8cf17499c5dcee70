"""The Generator that runs the network in torch, eagerly."""

import weakref
from collections.abc import Iterator, Sequence
from typing import Literal

import attrs

from litgpt.adapters.pytorch.allocating import allocating
from litgpt.adapters.pytorch.batch import Batch, Row
from litgpt.adapters.pytorch.cache import KVCache
from litgpt.adapters.pytorch.forking import check_fork
from litgpt.adapters.pytorch.gpt import GPT
from litgpt.adapters.pytorch.non_finite import first_non_finite
from litgpt.adapters.pytorch.prefix import TorchPrefixCache
from litgpt.adapters.pytorch.sampling import Draws, log_probabilities, pick
from litgpt.adapters.pytorch.versions import weights_version
from litgpt.domain.architecture import Rotary
from litgpt.domain.computing_errors import NotANumber
from litgpt.domain.errors import BadArgument, PromptTooLong
from litgpt.domain.generation import FinishReason, Request, TokenEvent
from litgpt.domain.ports.generator import PrefixCache

GENERATING = "Generating"


@attrs.frozen
class TorchGenerator:
    """Continues prompts with a model in torch. It borrows the model and keeps nothing between calls.

    Attributes:
        model: The network, on its device.
        cache_size: What `Placement.cache_size` says.

    """

    model: GPT
    cache_size: int | Literal["max"] | None = None

    @property
    def context(self) -> int:
        """How many tokens a prompt and its answer may have together."""
        longest = self.model.architecture.context
        return min(longest, self.cache_size) if isinstance(self.cache_size, int) else longest

    def prefix_cache(self) -> TorchPrefixCache:
        """Return an empty cache."""
        return TorchPrefixCache()

    def generate(
        self, requests: Sequence[Request], *, prefix: PrefixCache | None = None
    ) -> "TorchGeneration":
        """Continue prompts; see the port."""
        check_fork()
        vocabulary = self.model.architecture.vocab_size
        for request in requests:
            if len(request.prompt) >= self.context:
                raise PromptTooLong(len(request.prompt), self.context)
            for bad in (min(request.prompt), max(request.prompt)):
                if not 0 <= bad < vocabulary:
                    raise BadArgument("prompt", bad, f"made of token ids from 0 to {vocabulary - 1}")
        if prefix is not None and not isinstance(prefix, TorchPrefixCache):
            raise BadArgument("prefix", prefix, "a cache that this generator made")
        if prefix is not None and len(requests) != 1:
            raise BadArgument("prefix", prefix, "None, unless there is exactly one prompt")
        rows = [
            Row(
                index,
                one,
                min(one.max_new_tokens, self.context - len(one.prompt)),
                Draws(self.model.agreed(one.sampling)),
            )
            for index, one in enumerate(requests)
            if one.max_new_tokens > 0
        ]
        rows.sort(key=lambda row: -len(row.request.prompt))
        with allocating(GENERATING):
            return TorchGeneration(self._batch(rows, prefix) if rows else None)

    def _batch(self, rows: list[Row], prefix: TorchPrefixCache | None) -> Batch:
        longest = rows[0].request.prompt
        if prefix is not None:
            length = len(longest) + rows[0].left
            weights = weakref.ref(self.model), self.model.adapter, weights_version(self.model)
            kept, done = prefix.take(longest, self.context, self._rotaries, length, weights)
            prefix.cache = kept or self._cache(rows, self.context)
            prefix.busy = True
            return Batch(self.model, rows, prefix.cache, done, prefix)
        if self.cache_size is not None:
            return Batch(self.model, rows, self._cache(rows, self.context))
        # The last token of an answer is never looked back at, so it needs no slot.
        return Batch(self.model, rows, self._cache(rows, len(longest) + max(row.left for row in rows) - 1))

    def _rotaries(self, tokens: int) -> list[Rotary | None]:
        """Return how each layer rotates a text that may become `tokens` long."""
        rotaries = (layer.mixer.rotary for layer in self.model.architecture.layers)
        return [None if one is None else one.for_text(tokens) for one in rotaries]

    def _cache(self, rows: Sequence[Row], limit: int) -> KVCache:
        longest = len(rows[0].request.prompt)
        return self.model.empty_cache(
            limit=limit,
            starts=[longest - len(row.request.prompt) for row in rows],
            lengths=[len(row.request.prompt) + row.left for row in rows],
            fixed=self.cache_size is not None,
        )


class TorchGeneration(Iterator[TokenEvent]):
    """The tokens of one or several answers as they come; made by `TorchGenerator.generate`."""

    def __init__(self, batch: Batch | None) -> None:
        self._batch = batch
        self._cancelled: set[int] = set()
        # The events know the batch and not this object: so it goes, with the cache, as soon as the caller
        # drops it.
        self._events = _events(batch, self._cancelled) if batch is not None else iter(())

    def __next__(self) -> TokenEvent:
        try:
            with allocating(GENERATING):
                return next(self._events)
        except BaseException:  # it is over, or it failed: either way nothing more comes
            self.close()
            raise

    def cancel(self, index: int) -> None:
        """End one answer."""
        self._cancelled.add(index)

    def close(self) -> None:
        """End all answers and free their memory."""
        self._events = iter(())
        if self._batch is not None:
            self._batch.release()
            self._batch = None

    def __del__(self) -> None:
        self.close()


def _events(batch: Batch, cancelled: set[int]) -> Iterator[TokenEvent]:
    with batch.model.generating():
        yield from _steps(batch, cancelled)


def _steps(batch: Batch, cancelled: set[int]) -> Iterator[TokenEvent]:
    logits = batch.prefill()
    going = list(range(len(batch.rows)))
    while True:
        rows = [batch.rows[at] for at in going]
        wanted = logits if len(going) == len(batch.rows) else logits[going]
        try:
            tokens = pick(wanted, [row.draws for row in rows])
        except NotANumber as error:
            raise _located(error, batch, rows) from None
        logprobs: Sequence[float | None] = [None] * len(rows)
        if any(row.request.logprobs for row in rows):
            logprobs = log_probabilities(wanted, tokens)
        for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
            if row.index not in cancelled:
                yield _event(row, token, logprob)
        last = dict(zip(going, tokens, strict=True))
        going = [at for at in going if batch.rows[at].left and batch.rows[at].index not in cancelled]
        if not going:
            return
        if 4 * len(going) <= 3 * len(batch.rows):
            # Dropping rows copies the cache, so a few that are finished are carried along.
            batch.keep(going)
            last = {new: last[old] for new, old in enumerate(going)}
            going = list(range(len(batch.rows)))
        logits = batch.decode([last.get(at, 0) for at in range(len(batch.rows))])


def _located(error: NotANumber, batch: Batch, rows: Sequence[Row]) -> NotANumber:
    """Return the error with the prompts that it concerns, and where in the network their numbers stop."""
    if batch.prefix is not None:
        batch.prefix.close()  # it holds keys and values that are not finite
    bad = [rows[at] for at in error.rows]
    where = first_non_finite(batch.model, [*bad[0].request.prompt, *bad[0].answer])
    return NotANumber(sorted(row.index for row in bad), batch.prompts, where)


def _event(row: Row, token: int, logprob: float | None) -> TokenEvent:
    row.left -= 1
    row.answer.append(token)
    reason: FinishReason | None = "length" if row.left == 0 else None
    if token in row.request.end_ids:
        row.left, reason = 0, "stop"
    return TokenEvent(row.index, token, logprob if row.request.logprobs else None, reason)
