"""The tokens that sequences have in common at their beginning."""

MIN_SHARED = 32
"""The least number of tokens whose KV cache is shared: computing fewer takes about as long as a step."""


def common_prefix_length(tokens: list[int], other: list[int], start: int = 0) -> int:
    """Return the length of the common prefix of `tokens` and `other[start:]`."""
    count = min(len(tokens), len(other) - start)
    if tokens[:count] == other[start : start + count]:
        return count
    low = 0  # the common prefix has at least `low` tokens, and fewer than `count`
    while low + 1 < count:
        middle = (low + count) // 2
        if tokens[low:middle] == other[start + low : start + middle]:
            low = middle
        else:
            count = middle
    return low
