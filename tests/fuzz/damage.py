"""Damage to a file: its bytes, and the values of a JSON or YAML tree."""

import copy
import math
from random import Random
from typing import Any

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 10**6, -(10**6), 2**31, 10**12, 999, 2**63, 10**400),
    *(0.0, 0.5, -0.5, 1e-308, 1e308, math.nan, math.inf, -math.inf),
    *("", "1", "0.5", "nan", "silu", "\x00", "\ud800", "é", "a" * 300, "full_attention"),
    *([], [1], ["silu"], [None], [[]], [0.5, "1"], {}, {"": ""}, {"a": 1}, {"type": "yarn"}, {"0": {}}),
)
"""Values of a wrong type or size for nearly every setting."""


def damaged_bytes(raw: bytes, random: Random) -> bytes:
    """Return a file with bytes flipped, truncated, repeated, moved or inserted."""
    damaged = bytearray(raw)
    for _ in range(random.choice((1, 1, 2, 5))):
        at, to = sorted(random.randrange(len(damaged) + 1) for _ in range(2))
        match random.randrange(6):
            case 0 if damaged:
                damaged[at % len(damaged)] = random.choice(
                    (0, 1, 0x22, 0x5B, 0x7B, 0x80, 0xFF, random.randrange(256))
                )
            case 1:
                del damaged[at:]
            case 2:
                del damaged[at : min(to, at + 64)]
            case 3:
                damaged[at:at] = damaged[at : min(to, at + 64)]
            case 4:
                damaged[at:at] = bytes(random.randrange(256) for _ in range(random.randrange(9)))
            case _ if damaged:
                damaged[at % len(damaged)] ^= 1 << random.randrange(8)
    return bytes(damaged)


def damaged_tree(value: Any, random: Random) -> Any:
    """Return a tree of plain values with one to three nodes replaced, removed, renamed or exchanged."""
    value = copy.deepcopy(value)
    for _ in range(random.choice((1, 1, 2, 3))):
        places = list(_places(value))
        if not places:
            return random.choice(ODD)
        holder, key = random.choice(places)
        match random.randrange(8):
            case 0:
                del holder[key]
            case 1:
                other, place = random.choice(places)
                holder[key] = copy.deepcopy(other[place])
            case 2 if isinstance(holder, dict):
                holder[str(key) + random.choice(("", "x", "\ud800", "\x00"))] = holder.pop(key)
            case 3:
                holder[key] = [holder[key]]
            case 4:
                holder[key] = str(holder[key])
            case _:
                holder[key] = copy.deepcopy(random.choice(ODD))
    return value


def _places(value: Any) -> Any:
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))[:50]
    else:
        return
    for key in keys:
        yield value, key
        yield from _places(value[key])
