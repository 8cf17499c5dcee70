"""Find the prefixes that sequences have in common, so that each is computed once."""

from collections.abc import Callable, Hashable, Iterator, Sequence

import attrs

from litgpt.domain.common_prefix import MIN_SHARED, common_prefix_length
from litgpt.domain.scoring.request import ScoringRequest

MAX_DEPTH = 4
"""The largest number of prefixes of a sequence, such as few-shot examples, a document and a question."""


@attrs.frozen
class PrefixGroup:
    """Requests that begin with the same tokens.

    Attributes:
        start: The number of tokens that the parent has computed.
        end: The number of tokens that all requests have in common; 0 in a group of unrelated requests.
        first: The index of a request that begins with these tokens.
        longest: The number of tokens of the longest request.
        members: The indices of the requests that have no longer prefix in common, the longest rest first.
        children: Groups with longer prefixes.
    """

    start: int
    end: int
    first: int
    longest: int
    members: tuple[int, ...]
    children: "tuple[PrefixGroup, ...]"


def group_by_prefix(
    requests: Sequence[ScoringRequest], sharing_key: Callable[[int], Hashable]
) -> list[PrefixGroup]:
    """Return all requests as trees of common prefixes, one for each result of `sharing_key`.

    The last token before the first scored one belongs to no prefix, since the logits after it are needed for
    each request.

    Args:
        requests: At least one.
        sharing_key: Returns a value that is equal for the lengths of sequences that can share computed
            tokens: the RoPE of some models depends on the length.
    """
    prefixes = [list(request.ids[: request.start - 1]) for request in requests]
    lengths = [len(request.ids) for request in requests]
    by_key: dict[Hashable, list[int]] = {}
    for index in sorted(range(len(requests)), key=prefixes.__getitem__):
        by_key.setdefault(sharing_key(lengths[index]), []).append(index)
    return [_group(prefixes, lengths, indices, 0, 0, MAX_DEPTH) for indices in by_key.values()]


def _group(
    prefixes: Sequence[list[int]],
    lengths: Sequence[int],
    indices: Sequence[int],
    start: int,
    end: int,
    depth: int,
) -> PrefixGroup:
    """Return the group of requests, in the order of their prefixes, which agree up to `end`."""
    members: list[int] = []
    children = []
    for run in _runs(prefixes, indices, end) if depth else ([index] for index in indices):
        if len(run) == 1:
            members += run
        else:
            # The prefixes are sorted: what the first and the last have in common, all have.
            common = common_prefix_length(prefixes[run[0]], prefixes[run[-1]])
            children.append(_group(prefixes, lengths, run, end, common, depth - 1))
    members.sort(key=lambda index: -lengths[index])
    longest = max(lengths[index] for index in indices)
    return PrefixGroup(start, end, indices[0], longest, tuple(members), tuple(children))


def _runs(prefixes: Sequence[list[int]], indices: Sequence[int], end: int) -> Iterator[list[int]]:
    """Split requests where fewer than MIN_SHARED tokens from `end` on are equal."""
    run: list[int] = []
    for index in indices:
        shared = prefixes[index][end : end + MIN_SHARED]
        if run and (len(shared) < MIN_SHARED or prefixes[run[0]][end : end + MIN_SHARED] != shared):
            yield run
            run = []
        run.append(index)
    yield run
