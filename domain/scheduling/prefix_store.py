"""The prefix cache of the engine: what running sequences share, and finished ones that are kept for later."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Any

import attrs

from litgpt.domain.common_prefix import MIN_SHARED
from litgpt.domain.scheduling.page_table import Pages, PageTable
from litgpt.domain.scheduling.prefix_tree import PrefixTree
from litgpt.domain.scheduling.sequence import ScheduledSequence

_MAX_BYTES = 2**30


def max_cached_pages(num_pages: int, page_bytes: int) -> int:
    """Return how many pages of a KV cache may be of cached prefixes: an eighth, but at most 1 GiB."""
    return min(num_pages // 8, _MAX_BYTES // max(1, page_bytes))


@attrs.define(eq=False)
class CachedPrefix:
    """A finished sequence, or a copy of the beginning of one; `handle` belongs to the model runner."""

    tokens: list[int] = attrs.field(repr=False)
    handle: Any = attrs.field(repr=False)
    pages: Pages = attrs.field(repr=False)
    key: Hashable

    @property
    def num_computed(self) -> int:
        return len(self.tokens)


@attrs.define(eq=False)
class PrefixStore:
    """Finds the longest prefix that a sequence can share; the least recently used are evicted.

    Attributes:
        max_pages: The largest number of pages of cached prefixes, unless there is one only; 0: only running
            sequences are shared.
        can_truncate: Whether a prefix of any length can be forked from a sequence. If not, as with sliding
            windows and recurrent states, only a sequence that ends where the prefix does can be forked.
    """

    pages: PageTable
    max_pages: int
    can_truncate: bool = True
    _trees: dict[Hashable, PrefixTree[Any]] = attrs.field(factory=dict, init=False, repr=False)
    _cached: OrderedDict[int, CachedPrefix] = attrs.field(factory=OrderedDict, init=False, repr=False)
    _running: dict[int, list[int]] = attrs.field(factory=dict, init=False, repr=False)
    evicted: list[CachedPrefix] = attrs.field(factory=list, init=False, repr=False)

    def __len__(self) -> int:
        return len(self._cached)

    @property
    def num_pages(self) -> int:
        """The pages of cached prefixes; those that several share are counted for each."""
        return sum(len(prefix.pages.numbers) for prefix in self._cached.values())

    def match(self, sequence: ScheduledSequence) -> None:
        """Set what a sequence shares: `parent` and `fork_length`.

        If a longer prefix has been computed before than can be forked now, the sequence gets a checkpoint, so
        that it can be forked the next time.
        """
        sequence.parent, sequence.fork_length, sequence.snapshot_length = None, 0, 0
        sequence.checkpoints.clear()
        tree = self._trees.get(sequence.sharing_key)
        if tree is None:
            return
        longest = len(sequence.tokens) - 1  # the logits after the last token are needed
        known = 0
        for length, entries in tree.matches(sequence.tokens):
            common = min(length, longest)
            known = max(known, common)
            if common < MIN_SHARED:
                break
            entry = self._best(entries, common)
            if entry is not None:
                sequence.parent, sequence.fork_length = entry, common
                if sequence.is_prefix_pending:
                    entry.checkpoints.append(common)
                break
        if known - sequence.fork_length >= MIN_SHARED:
            sequence.snapshot_length = known
            sequence.checkpoints.append(known)

    def _best(self, entries: Iterable[Any], common: int) -> Any:
        """Return the entry from which a prefix can be forked, preferably now."""
        best = None
        for entry in entries:
            computed = entry.num_computed
            if computed == common or (computed > common and self.can_truncate):
                if isinstance(entry, CachedPrefix):
                    self._cached.move_to_end(id(entry))
                return entry
            if computed < common and best is None and not isinstance(entry, CachedPrefix):
                best = entry  # it is computing the prefix
        return best

    def insert(self, sequence: ScheduledSequence) -> None:
        """Share the tokens of a running sequence."""
        if sequence.sharing_key is None:
            return
        tokens = self._running[sequence.index] = list(sequence.tokens)
        self._tree(sequence.sharing_key).insert(tokens, sequence)

    def remove(self, sequence: ScheduledSequence) -> None:
        tokens = self._running.pop(sequence.index, None)
        if tokens is not None:
            self._remove(sequence.sharing_key, tokens, sequence)

    def keep(self, prefix: CachedPrefix) -> None:
        """Keep a finished sequence or a snapshot; `evicted` gets what does not fit any more."""
        self._tree(prefix.key).insert(prefix.tokens, prefix)
        self._cached[id(prefix)] = prefix
        while self.num_pages > self.max_pages and len(self._cached) > 1:
            self.evict()

    def evict(self) -> bool:
        """Move the least recently used prefix to `evicted`, if there is one, and free its pages."""
        if not self._cached:
            return False
        _, prefix = self._cached.popitem(last=False)
        self._remove(prefix.key, prefix.tokens, prefix)
        self.pages.free(prefix.pages)
        self.evicted.append(prefix)
        return True

    def _remove(self, key: Hashable, tokens: list[int], entry: object) -> None:
        self._trees[key].remove(tokens, entry)
        if self._trees[key].is_empty:  # with dynamic RoPE, each length has a key of its own
            del self._trees[key]

    def _tree(self, key: Hashable) -> PrefixTree[Any]:
        return self._trees.setdefault(key, PrefixTree())
