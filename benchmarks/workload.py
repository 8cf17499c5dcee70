"""The requests on which engines with running batches are compared. Only the standard library is imported."""

import random

REQUESTS = 256


def token_ids(count: int, seed: int) -> list[int]:
    """Return random token ids, so that no two prompts have a common prefix by chance."""
    return random.Random(seed).choices(range(1000, 40_000), k=count)


def mixed_requests(first: int = 0, last: int = REQUESTS) -> list[tuple[list[int], int]]:
    """Return some of 256 prompts of 8 to 400 token ids, each with the length of its answer, 8 to 200 tokens.

    Args:
        first: The first of them.
        last: The one after the last of them.
    """
    sizes = random.Random(0)
    lengths = [(sizes.randint(8, 400), sizes.randint(8, 200)) for _ in range(REQUESTS)]
    requests = [(token_ids(length, at), count) for at, (length, count) in enumerate(lengths)]
    return requests[first:last]


def count_tokens(requests: list[tuple[list[int], int]]) -> int:
    """Return the number of tokens of prompts and answers."""
    return sum(len(prompt) + count for prompt, count in requests)
