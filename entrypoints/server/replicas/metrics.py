"""The metrics of several servers in one text, in Prometheus' format."""

import re
from collections.abc import Iterator, Sequence

_SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")
_OF_THE_FRONT = "litgpt_requests_total"
"""What the front counts, since it also refuses requests."""


def merge_metrics(front: str, replicas: Sequence[str | None]) -> str:
    """Return the metrics of replicas, with the label `replica`, and the requests that the front has counted.

    Rates are computed for each series and added up then, `sum(rate(...))`: the counters of a replica begin at
    0 when it is started again.

    Args:
        front: The metrics of the front.
        replicas: Those of each replica at its rank; None: it does not run.
    """
    families: dict[str, list[str]] = {}
    for head, samples in _families(front):
        families[head] = samples if head.startswith(f"# HELP {_OF_THE_FRONT} ") else []
        if "# TYPE litgpt_engine_alive gauge" in head:
            families[head] = [
                f'litgpt_engine_alive{{replica="{rank}"}} 0'
                for rank, text in enumerate(replicas)
                if text is None
            ]
    for rank, text in enumerate(replicas):
        for head, samples in _families(text or ""):
            if not head.startswith(f"# HELP {_OF_THE_FRONT} "):
                families.setdefault(head, []).extend(_labelled(sample, rank) for sample in samples)
    lines = [line for head, samples in families.items() if samples for line in (head, *samples)]
    return "\n".join([*lines, ""])


def _families(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the two comments of each metric, and its samples."""
    lines = text.splitlines()
    starts = [at for at, line in enumerate(lines) if line.startswith("# HELP ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=False):
        yield "\n".join(lines[start : start + 2]), lines[start + 2 : end]


def _labelled(sample: str, rank: int) -> str:
    match = _SAMPLE.fullmatch(sample)
    if match is None:
        return sample
    name, labels, value = match.groups()
    return f'{name}{{replica="{rank}"{f",{labels}" if labels else ""}}} {value}'
