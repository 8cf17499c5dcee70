"""A lesson: the ids of a text, and which of them are to be learnt."""

import attrs


@attrs.frozen
class Lesson:
    """What one example is for a model.

    Attributes:
        ids: The text.
        learnt: Which stretches of it the model learns to say: where each begins, and where it has ended.

    """

    ids: tuple[int, ...]
    learnt: tuple[tuple[int, int], ...]

    @property
    def teaches(self) -> bool:
        """Whether anything of it can be learnt. The first token follows nothing, so it never can."""
        return any(start < stop and stop > 1 for start, stop in self.learnt)

    def cut(self, at_most: int | None) -> "Lesson":
        """Return the beginning of it; None leaves it whole."""
        if at_most is None or len(self.ids) <= at_most:
            return self
        learnt = tuple((start, min(stop, at_most)) for start, stop in self.learnt if start < at_most)
        return Lesson(self.ids[:at_most], learnt)

    def labels(self, ignore_index: int) -> list[int]:
        """Return the ids, and `ignore_index` in place of those that are not learnt. They are not shifted."""
        labels = [ignore_index] * len(self.ids)
        for start, stop in self.learnt:
            labels[start:stop] = self.ids[start:stop]
        return labels
