"""Which of several copies of a model answers a prompt: one that has its beginning in the KV cache."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import attrs

BLOCK = 128
"""The characters of a block; a prefix of a prompt is known by its number of whole blocks."""

_MAX_BLOCKS = 2048
"""The blocks of a prompt that are looked at. What is beyond them hardly changes the choice."""

_MAX_CHARS = BLOCK * _MAX_BLOCKS
_MAX_PREFIXES = 65_536
_ALLOWED_LEAD = 4
"""How many more requests than the least busy replica, if that is not idle, one with the prompt may have."""

_FIELDS = ("model", "tools", "system", "instructions", "messages", "prompt", "input")
"""The fields of a request that come into its prompt, in the order in which chat templates use them."""


def prompt_text(body: Mapping[str, Any]) -> str:
    """Return a text that has a common beginning for requests whose prompts have one.

    It is not the prompt itself: the chat template is applied by the server of the model. It has no more
    characters than are looked at, so that a request of any size takes a bounded time.

    Args:
        body: A request of OpenAI's API, as parsed JSON. Its fields need not be valid.
    """
    pieces, length = [], 0
    for piece in (piece for name in _FIELDS if body.get(name) for piece in _pieces(body[name])):
        pieces.append(piece)
        length += len(piece) + 1
        if length > _MAX_CHARS:
            break
    return "\n".join(pieces)[:_MAX_CHARS]


def _pieces(value: object) -> Iterator[str]:
    """Yield the names and values in the order of the text; nothing marks an end, where more may follow."""
    if isinstance(value, dict):
        for name in sorted(value):
            yield name[:_MAX_CHARS]
            yield from _pieces(value[name])
    elif isinstance(value, list):
        for item in value:
            yield from _pieces(item)
    else:
        yield value[:_MAX_CHARS] if isinstance(value, str) else str(value)


@attrs.define
class PromptAffinity:
    """Remembers which replicas have computed which beginnings of prompts, and selects one for each request.

    A prompt goes to the replica that has the longest known beginning of it, unless it has requests while
    another one is idle, or over 4 requests more than the least busy one, and over half as many more. Then a
    shorter beginning counts, and in the end the number of requests alone. The least recently selected replica
    wins among equals. A system prompt that all requests have thus reaches all replicas.

    Args:
        max_prefixes: The most prefixes that are remembered; the least recently used ones are forgotten.
    """

    max_prefixes: int = _MAX_PREFIXES
    # By the hash of a prefix, the replicas that have it, as bits. A collision costs a wrong preference only.
    _holders: OrderedDict[int, int] = attrs.field(factory=OrderedDict, init=False, repr=False)
    _selected: dict[int, int] = attrs.field(factory=dict, init=False, repr=False)
    _clock: Iterator[int] = attrs.field(factory=count, init=False, repr=False)

    def select(self, text: str, outstanding: Mapping[int, int]) -> int:
        """Return the replica for a prompt.

        Args:
            text: The text of the prompt, as `prompt_text` returns it.
            outstanding: The number of unanswered requests of each replica that may be selected; not empty.
        """
        least = min(outstanding.values())
        limit = least + max(_ALLOWED_LEAD, least // 2) if least else 0
        free = {replica for replica, number in outstanding.items() if number <= limit}
        holding: set[int] = set()
        for prefix in reversed(list(_prefix_hashes(text))):
            holders = self._holders.get(prefix, 0)
            if holding := {replica for replica in free if holders >> replica & 1}:
                break
        replica = min(holding or free, key=lambda it: (outstanding[it], self._selected.get(it, -1)))
        self._selected[replica] = next(self._clock)
        return replica

    def remember(self, text: str, replica: int) -> None:
        """Remember that a replica has a prompt, once it answers it."""
        for prefix in reversed(list(_prefix_hashes(text))):  # the longest is the first to be forgotten
            self._holders[prefix] = self._holders.get(prefix, 0) | 1 << replica
            self._holders.move_to_end(prefix)
        while len(self._holders) > self.max_prefixes:
            self._holders.popitem(last=False)

    def forget(self, replica: int) -> None:
        """Forget what a replica has, as when it is started again."""
        for prefix, holders in list(self._holders.items()):
            if kept := holders & ~(1 << replica):
                self._holders[prefix] = kept
            else:
                del self._holders[prefix]


def _prefix_hashes(text: str) -> Iterator[int]:
    """Yield a number for each prefix of whole blocks, with Python's hash, which clients cannot foresee."""
    known = 0
    for start in range(0, min(len(text), _MAX_CHARS) - BLOCK + 1, BLOCK):
        known = hash((known, text[start : start + BLOCK]))
        yield known
