"""A tokenized training example, and the tokens that contribute to the loss."""

import attrs


@attrs.frozen
class SFTExample:
    """A tokenized training example; `loss_spans` are (start, stop) ranges that contribute to the loss."""

    token_ids: tuple[int, ...]
    loss_spans: tuple[tuple[int, int], ...]

    @property
    def has_targets(self) -> bool:
        """Whether any token contributes to the loss; the first token has no context and never does."""
        return any(start < stop and stop > 1 for start, stop in self.loss_spans)

    def truncate(self, max_length: int | None) -> "SFTExample":
        """Return the example truncated to `max_length` tokens; None: unchanged."""
        if max_length is None or len(self.token_ids) <= max_length:
            return self
        spans = tuple((start, min(stop, max_length)) for start, stop in self.loss_spans if start < max_length)
        return SFTExample(self.token_ids[:max_length], spans)

    def labels(self, ignore_index: int) -> list[int]:
        """Return the unshifted labels: token ids, or `ignore_index` outside the loss spans."""
        labels = [ignore_index] * len(self.token_ids)
        for start, stop in self.loss_spans:
            labels[start:stop] = self.token_ids[start:stop]
        return labels
