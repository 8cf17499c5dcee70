"""Computes steps of sequences: decoding sequences in one batch, which others join after their prefill."""

from collections.abc import Mapping, Sequence

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.generation.running_batch import RunningBatch, TorchSequence
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.model.kv_cache import KVCache


@attrs.define(eq=False)
class TorchModelRunner:
    """Computes steps of sequences with a GPT.

    Sequences that are given one token per step share the KV cache of the decode batch and are computed in one
    forward pass. Prompts are computed in batches of their own, whose sequences join the decode batch when
    they are first given one token. Under torchrun, all ranks make the same calls in the same order.

    Attributes:
        fixed_length: The number of slots with which the KV cache of the decode batch is allocated; None: it
            grows on demand.
    """

    model: GPT
    fixed_length: int | None = None
    _decode: RunningBatch | None = attrs.field(default=None, init=False)
    _prefill: list[RunningBatch] = attrs.field(factory=list, init=False)

    def new_sequence(self, length: int) -> TorchSequence:
        """Return an empty sequence of at most `length` tokens, prompt and answer."""
        return TorchSequence(length)

    def resume(self, cache: KVCache) -> TorchSequence:
        """Return a sequence that continues the only row of a KV cache, which stays the cache of its row."""
        sequence = TorchSequence(cache.lengths[0])
        self._prefill.append(RunningBatch(self.model, cache, [sequence]))
        return sequence

    @torch.inference_mode()
    def step(self, batch: Sequence[tuple[TorchSequence, Sequence[int]]]) -> Tensor:
        """Append tokens to sequences and return the logits (B, V) after the last token of each.

        A step is one forward pass for all sequences with one new token, and one or more for each prefill.
        Sequences of the decode batch that a step leaves out, while it computes others of it, leave the batch
        at the cost of a copy.

        Args:
            batch: Each sequence of the step once, with at least one token.
        """
        tokens = dict(batch)
        started = {sequence for part in self._batches for sequence in part.running}
        decoding = {sequence for sequence, ids in batch if sequence in started and len(ids) == 1}
        self._update_decode_batch(decoding, tokens)
        parts = [self._decode] if self._decode is not None and decoding else []
        parts += self._prefill_batches(tokens)
        if new := [sequence for sequence in tokens if sequence not in started]:
            parts.append(self._new_batch(new, tokens))
        for part in self._batches:
            part.compact()
        logits = [part.forward([tokens[sequence] for sequence in part.running]) for part in parts]
        order = [sequence for part in parts for sequence in part.running]
        all_logits = logits[0] if len(logits) == 1 else torch.cat(logits)
        if order == list(tokens):
            return all_logits
        row_of = {sequence: row for row, sequence in enumerate(order)}
        return all_logits[[row_of[sequence] for sequence in tokens]]

    def release(self, sequence: TorchSequence) -> None:
        """Free the row of a sequence, which may be in use by the next sequence that joins."""
        for part in self._batches:
            if sequence in part.sequences:
                part.sequences[part.sequences.index(sequence)] = None
        self._drop_empty_batches()

    @property
    def _batches(self) -> list[RunningBatch]:
        return self._prefill if self._decode is None else [self._decode, *self._prefill]

    def _drop_empty_batches(self) -> None:
        if self._decode is not None and not self._decode.running:
            self._decode = None
        self._prefill = [part for part in self._prefill if part.running]

    def _update_decode_batch(
        self, decoding: set[TorchSequence], tokens: Mapping[TorchSequence, Sequence[int]]
    ) -> None:
        """Make `decoding` the sequences of the decode batch; if there are none, keep those not computed."""
        if self._decode is not None:
            running = self._decode.running
            leaving = [s for s in running if s not in decoding and (decoding or s in tokens)]
            if len(leaving) == len(running):
                self._prefill.append(self._decode)
                self._decode = None
            elif leaving:
                self._prefill.append(self._decode.split(leaving))
        for part in self._prefill.copy():
            joining = [sequence for sequence in part.running if sequence in decoding]
            if joining and self._decode is None and len(joining) == len(part.running):
                self._decode = part
                self._prefill.remove(part)
            elif joining:
                self._decode = self._decode or RunningBatch.empty(self.model)
                self._decode.join(part, joining)
        self._drop_empty_batches()

    def _prefill_batches(self, tokens: Mapping[TorchSequence, Sequence[int]]) -> list[RunningBatch]:
        """Return the prefill batches of this step: those of equal numbers of new tokens for all rows."""
        scheduled = []
        for part in self._prefill.copy():
            by_count: dict[int, list[TorchSequence]] = {}
            for sequence in part.running:
                by_count.setdefault(len(tokens.get(sequence, ())), []).append(sequence)
            most = max(by_count, key=lambda count: len(by_count[count]))
            batches = {
                count: part if count == most else part.split(sequences)
                for count, sequences in by_count.items()
            }
            self._prefill += [batch for batch in batches.values() if batch is not part]
            scheduled += [batch for count, batch in batches.items() if count > 0]
        return scheduled

    def _new_batch(
        self, sequences: Sequence[TorchSequence], tokens: Mapping[TorchSequence, Sequence[int]]
    ) -> RunningBatch:
        """Return a batch of new sequences, from the one with most tokens to the one with fewest."""
        rows = sorted(sequences, key=lambda sequence: -len(tokens[sequence]))
        longest = len(tokens[rows[0]])
        offsets = [longest - len(tokens[sequence]) for sequence in rows]
        lengths = [sequence.max_length for sequence in rows]
        # No token attends to the last token of an answer, so it needs no slot.
        max_length = max(offset + length for offset, length in zip(offsets, lengths, strict=True)) - 1
        is_first = not self._batches
        cache = self.model.empty_cache(
            max_length=self.fixed_length if self.fixed_length is not None and is_first else max_length,
            row_offsets=offsets,
            lengths=lengths,
            fixed=self.fixed_length is not None and is_first,
        )
        batch = RunningBatch(self.model, cache, list(rows))
        self._prefill.append(batch)
        return batch
