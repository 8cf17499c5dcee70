"""A set of the ids of millions of lines in little memory."""

import re
from array import array

_PAGE = 1024
_MIN_SIZE = 1024
_MAX_NUMBER = 1 << 24
"""The numbers below have pages, of which there are so few that sparse ones need little memory, too."""
_DIGITS = re.compile("[1-9][0-9]{0,7}")


class IdSet:
    """A set of strings and integers, which is not larger for longer ones.

    Numbers below 2^24, and strings such as `line-17` with such numbers, take a bit each if all of their
    neighbors are in the set, and 11 MB if none are. Other ids take 11 to 21 bytes: they are recognized by 64
    bits of a hash. Among ten million ids, there are two with the same hash with a probability of 3 in a
    million.
    """

    def __init__(self) -> None:
        self._pages: dict[tuple[bool, int], bytearray] = {}
        self._hashes = array("Q", bytes(8 * _MIN_SIZE))  # open addressing; 0: empty
        self._count = self._num_hashes = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, (str, int)):
            return False
        number = _number(name)
        if number is None:
            return self._hashes[self._slot(_hash(name))] != 0
        page = self._pages.get((isinstance(name, str), number // _PAGE))
        return page is not None and bool(page[number % _PAGE >> 3] >> (number & 7) & 1)

    def add(self, name: str | int) -> bool:
        """Add an id, and return whether it is new."""
        if name in self:
            return False
        self._count += 1
        number = _number(name)
        if number is None:
            self._add_hash(_hash(name))
        else:
            page = self._pages.setdefault((isinstance(name, str), number // _PAGE), bytearray(_PAGE // 8))
            page[number % _PAGE >> 3] |= 1 << (number & 7)
        return True

    def _add_hash(self, value: int) -> None:
        self._hashes[self._slot(value)] = value
        self._num_hashes += 1
        if 4 * self._num_hashes > 3 * len(self._hashes):
            values, self._hashes = self._hashes, array("Q", bytes(16 * len(self._hashes)))
            for earlier in values:
                if earlier:
                    self._hashes[self._slot(earlier)] = earlier

    def _slot(self, value: int) -> int:
        """Return where a hash is, or where it belongs."""
        last = len(self._hashes) - 1
        at = value & last
        while self._hashes[at] not in (0, value):
            at = at + 1 & last
        return at


def _hash(name: str | int) -> int:
    # The text of an integer: its own hash is not random.
    return hash(repr(name)) & (1 << 64) - 1 or 1


def _number(name: str | int) -> int | None:
    """Return the number of `17` or `line-17`; None for ids that have no page."""
    if isinstance(name, str):
        digits = name.removeprefix("line-")
        if digits == name or not _DIGITS.fullmatch(digits):
            return None
        name = int(digits)
    return name if 0 <= name < _MAX_NUMBER else None
