"""A lesson: the ids of a text, and which of them are to be learned."""

import attrs


@attrs.frozen
class SFTExample:
    """What one example is for a model.

    Attributes:
        token_ids: The text.
        loss_spans: Which stretches of it the model learns to say: where each begins, and where it has ended.

    """

    token_ids: tuple[int, ...]
    loss_spans: tuple[tuple[int, int], ...]

    @property
    def has_targets(self) -> bool:
        """Whether anything of it can be learned. The first token follows nothing, so it never can."""
        return any(start < stop and stop > 1 for start, stop in self.loss_spans)

    def truncate(self, max_length: int | None) -> "SFTExample":
        """Return the beginning of it; None leaves it whole."""
        if max_length is None or len(self.token_ids) <= max_length:
            return self
        learnt = tuple(
            (start, min(stop, max_length)) for start, stop in self.loss_spans if start < max_length
        )
        return SFTExample(self.token_ids[:max_length], learnt)

    def labels(self, ignore_index: int) -> list[int]:
        """Return the ids, and `ignore_index` in place of those that are not learned. They are not shifted."""
        labels = [ignore_index] * len(self.token_ids)
        for start, stop in self.loss_spans:
            labels[start:stop] = self.token_ids[start:stop]
        return labels
