"""The pages of the KV cache: how many are in use, and which sequences share them.

The pages themselves belong to the engine, which shares and copies them by the same rules.
"""

import attrs


@attrs.define(eq=False)
class Pages:
    """The pages of one sequence, and the number of its KV cache entries in them."""

    numbers: list[int] = attrs.field(factory=list)
    length: int = 0


@attrs.define(eq=False)
class PageTable:
    """Counts the references to each page.

    A page that several sequences share is copied before one of them appends to it.

    Attributes:
        capacity: The number of pages; a single sequence may exceed it.
        page_size: The KV cache entries of a page.
        can_share: Whether a fork shares pages; otherwise its KV cache is a copy.
    """

    capacity: int
    page_size: int
    can_share: bool = True
    _references: dict[int, int] = attrs.field(factory=dict, init=False, repr=False)
    _next: int = attrs.field(default=0, init=False, repr=False)

    @property
    def num_used(self) -> int:
        return len(self._references)

    @property
    def num_free(self) -> int:
        """The number of free pages; negative if a single sequence exceeds the capacity."""
        return self.capacity - len(self._references)

    def count(self, length: int) -> int:
        """Return the number of pages for `length` entries."""
        return -(-length // self.page_size)

    def num_new(self, pages: Pages, length: int) -> int:
        """Return how many pages growing to `length` entries takes."""
        return self.count(length) - len(pages.numbers) + self._copies_last(pages, length)

    def grow(self, pages: Pages, length: int) -> None:
        """Grow to `length` entries."""
        if self._copies_last(pages, length):
            self._drop(pages.numbers.pop())
        while len(pages.numbers) < self.count(length):
            self._references[self._next] = 1
            pages.numbers.append(self._next)
            self._next += 1
        pages.length = length

    def truncate(self, pages: Pages, length: int) -> None:
        """Free the pages behind the first `length` entries."""
        for number in pages.numbers[self.count(length) :]:
            self._drop(number)
        del pages.numbers[self.count(length) :]
        pages.length = length

    def fork(self, pages: Pages, length: int) -> Pages:
        """Return a sequence of the first `length` entries, which shares the pages if that is possible."""
        if not self.can_share:
            copy = Pages()
            self.grow(copy, length)
            return copy
        shared = pages.numbers[: self.count(length)]
        for number in shared:
            self._references[number] += 1
        return Pages(shared, length)

    def free(self, pages: Pages) -> None:
        for number in pages.numbers:
            self._drop(number)
        pages.numbers, pages.length = [], 0

    def _copies_last(self, pages: Pages, length: int) -> bool:
        if length <= pages.length or pages.length % self.page_size == 0:
            return False
        return self._references[pages.numbers[-1]] > 1

    def _drop(self, number: int) -> None:
        self._references[number] -= 1
        if self._references[number] == 0:
            del self._references[number]
