"""Sequences in batches: decoding sequences share one, which others join after their prefill."""

from collections.abc import Mapping, Sequence

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.generation.running_batch import RunningBatch, TorchSequence
from litgpt.adapters.pytorch.model.causal_lm import CausalLM


@attrs.define(eq=False)
class SequenceBatches:
    """Computes steps of sequences with a model.

    Sequences that are given one token per step, and those with drafts, share the KV cache of the decode batch
    and are computed in one forward pass, in which drafts are padded to the same length. Prompts are computed
    in batches of their own, whose sequences join the decode batch when they are first given one token. Under
    torchrun, all ranks make the same calls in the same order.

    Attributes:
        fixed_length: The number of slots with which the KV cache of the first prompts is allocated, which
            becomes that of the decode batch; None: it grows on demand.
    """

    model: CausalLM
    fixed_length: int | None = None
    _decode: RunningBatch | None = attrs.field(default=None, init=False)
    _batch_of: dict[TorchSequence, RunningBatch] = attrs.field(factory=dict, init=False)
    _surplus: dict[TorchSequence, int] = attrs.field(factory=dict, init=False)

    @property
    def batches(self) -> list[RunningBatch]:
        """All batches with a sequence, including those that no step computes."""
        return list(dict.fromkeys(self._batch_of.values()))

    @torch.inference_mode()
    def step(
        self, batch: Sequence[tuple[TorchSequence, Sequence[int]]], positions: Sequence[range] | None = None
    ) -> Tensor:
        """Append tokens to sequences and return logits (R, V).

        A step is one forward pass for all decoding sequences, and one or more for each prefill.
        Sequences of the decode batch that a step leaves out, while it computes others of it, leave the batch
        at the cost of a copy.

        Args:
            batch: Each sequence of the step once, with at least one token.
            positions: For each sequence, the new tokens after which the logits are computed: the last ones.
                None: only the last.
        """
        self._settle()
        tokens = dict(batch)
        counts = dict.fromkeys(tokens, 1)
        if positions is not None:
            counts = {sequence: len(at) for (sequence, _), at in zip(batch, positions, strict=True)}
        decoding = [it for it, ids in batch if len(ids) == counts[it] and it in self._batch_of]
        width = self._width(decoding, tokens)
        decoding = [it for it in decoding if len(tokens[it]) <= width]
        parts = [self._decode_batch(decoding)] if decoding else []
        parts += self._started_batches(tokens, parts)
        if new := [sequence for sequence in tokens if sequence not in self._batch_of]:
            parts.append(self._new_batch(new, tokens))
        for part in parts:
            part.compact()
        for sequence in decoding:
            padding = width - len(tokens[sequence])
            if padding:
                tokens[sequence] = [*tokens[sequence], *[0] * padding]
                self._surplus[sequence] = padding
        logits = [
            part.forward(
                [tokens[it] for it in part.running],
                max(counts[it] + self._surplus.get(it, 0) for it in part.running),
            )
            for part in parts
        ]
        return _in_order(logits, [part.running for part in parts], counts, self._surplus)

    @torch.inference_mode()
    def fork(self, sequence: TorchSequence, length: int, max_length: int) -> TorchSequence:
        """Return a copy of the first `length` tokens of a sequence, which may have `max_length`."""
        source = self._batch_of[sequence]
        fork = source.copy_row(sequence, length, TorchSequence(max_length))
        self._assign(fork)
        return fork.running[0]

    @torch.inference_mode()
    def truncate(self, sequence: TorchSequence, length: int) -> None:
        """Remove the tokens of a sequence from `length` on, at the latest before the next step."""
        cache, row = self._batch_of[sequence].cache, self._batch_of[sequence].sequences.index(sequence)
        self._surplus[sequence] = cache.length - cache.row_offsets[row] - length

    def release(self, sequence: TorchSequence) -> None:
        """Free the row of a sequence, which may be in use by the next sequence that joins."""
        part = self._batch_of.pop(sequence, None)
        self._surplus.pop(sequence, None)
        if part is None:
            return
        if sequence in part.sequences:  # it is not, if joining another batch has failed
            part.sequences[part.sequences.index(sequence)] = None
        if part is self._decode and not part.running:
            self._decode = None

    def _settle(self) -> None:
        """Remove padding and tokens of drafts that were rejected."""
        for part in dict.fromkeys(self._batch_of[sequence] for sequence in self._surplus):
            part.drop_last(self._surplus)
        self._surplus.clear()

    def _width(self, decoding: Sequence[TorchSequence], tokens: Mapping[TorchSequence, Sequence[int]]) -> int:
        """Return the number of tokens to which the drafts of decoding sequences are padded.

        It is 1, so that drafts have forward passes of their own, if padding would exceed a maximum length.
        """
        width = max((len(tokens[it]) for it in decoding), default=1)
        for sequence in decoding:
            part = self._batch_of[sequence]
            start = part.cache.row_offsets[part.sequences.index(sequence)]
            if part.cache.length - start + width >= sequence.max_length:
                return 1
        return width

    def _assign(self, part: RunningBatch) -> None:
        self._batch_of.update(dict.fromkeys(part.running, part))

    def _decode_batch(self, decoding: Sequence[TorchSequence]) -> RunningBatch:
        """Make some sequences those of the decode batch, and return it."""
        staying, decode = set(decoding), self._decode
        if decode is not None and (leaving := [it for it in decode.running if it not in staying]):
            if len(leaving) == len(decode.running):
                decode = None
            else:
                self._assign(decode.split(leaving))
        joining: dict[RunningBatch, list[TorchSequence]] = {}
        for sequence in decoding:
            joining.setdefault(self._batch_of[sequence], []).append(sequence)
        for part, sequences in joining.items():
            if part is decode:
                continue
            if decode is None and len(sequences) == len(part.running):
                decode = part
                continue
            decode = decode or RunningBatch.empty(self.model)
            decode.join(part, sequences)
            self._assign(decode)
        assert decode is not None  # noqa: S101 - there are decoding sequences
        self._decode = decode
        return decode

    def _started_batches(
        self, tokens: Mapping[TorchSequence, Sequence[int]], done: Sequence[RunningBatch]
    ) -> list[RunningBatch]:
        """Return batches of equal numbers of new tokens for all rows, of sequences that have tokens."""
        scheduled = []
        for part in dict.fromkeys(self._batch_of[it] for it in tokens if it in self._batch_of):
            if part in done:
                continue
            by_count: dict[int, list[TorchSequence]] = {}
            for sequence in part.running:
                by_count.setdefault(len(tokens.get(sequence, ())), []).append(sequence)
            most = max(by_count, key=lambda count: len(by_count[count]))
            for count, sequences in by_count.items():
                batch = part if count == most else part.split(sequences)
                self._assign(batch)
                scheduled += [batch] if count > 0 else []
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
        is_fixed = self.fixed_length is not None and not any(part.is_fixed for part in self.batches)
        if is_fixed and self.fixed_length is not None:  # padding may take more
            max_length = max(max_length, self.fixed_length)
        cache = self.model.empty_cache(
            max_length=max_length, row_offsets=offsets, lengths=lengths, fixed=is_fixed
        )
        batch = RunningBatch(self.model, cache, list(rows), is_fixed)
        self._assign(batch)
        return batch


def _in_order(
    logits: Sequence[Tensor],
    parts: Sequence[Sequence[TorchSequence]],
    counts: Mapping[TorchSequence, int],
    padding: Mapping[TorchSequence, int],
) -> Tensor:
    """Return the last logits of each sequence (R, V) in the order of `counts`, from parts (B, N, V).

    Those of `padding` after them are left out.
    """
    if len(logits) == 1 and logits[0].shape[1] == 1 and parts[0] == [*counts]:
        return logits[0][:, 0]
    first_row, rows = {}, 0
    for part, of_part in zip(parts, logits, strict=True):
        for sequence in part:
            rows += of_part.shape[1]
            first_row[sequence] = rows - counts[sequence] - padding.get(sequence, 0)
    index = [row for it, count in counts.items() for row in range(first_row[it], first_row[it] + count)]
    return torch.cat([of_part.flatten(0, 1) for of_part in logits])[index]
