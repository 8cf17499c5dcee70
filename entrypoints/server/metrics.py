"""Counters and histograms of a server, in Prometheus' text format."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import attrs

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 10.0)
_STALLED_SECONDS = 300.0
"""A step that takes longer hangs: even a large model on a CPU computes a chunk of a prompt in less."""


@attrs.frozen(kw_only=True)
class EngineStatus:
    """The state of an engine at one moment.

    Attributes:
        is_alive: Whether its thread computes steps, or waits for requests.
        is_degraded: Whether some of several replicas do not run.
        running: The requests in the batch.
        waiting: The requests that wait for a place in it.
        kv_pages_used: The pages of the KV cache that running requests and cached prefixes use.
        kv_pages: All pages of the KV cache.
        step_seconds: The time since the current step began; 0 between steps.
    """

    is_alive: bool = True
    is_degraded: bool = False
    running: int = 0
    waiting: int = 0
    kv_pages_used: int = 0
    kv_pages: int = 0
    step_seconds: float = 0.0

    @property
    def state(self) -> str:
        """The state in one word; requests are answered if it is `ok` or `degraded`."""
        if not self.is_alive:
            return "stopped"
        if self.step_seconds > _STALLED_SECONDS:
            return "stalled"
        return "degraded" if self.is_degraded else "ok"


class EngineProbe(Protocol):
    """What `/health` and `/metrics` ask of an engine; the call must not wait for a step."""

    def status(self) -> EngineStatus:
        """Return the state of the engine at this moment."""
        ...


@runtime_checkable
class MetricsSource(Protocol):
    """An `EngineProbe` that has further metrics, as the front of several replicas."""

    async def metrics(self, own: str) -> str:
        """Return all metrics, given the text of this server's own."""
        ...


class Histogram:
    """Counts of observed values by upper bounds.

    Args:
        bounds: The upper bounds of the buckets, ascending, without infinity.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """Add a value `count` times."""
        self._counts[bisect_left(self._bounds, value)] += count
        self._sum += value * count

    def lines(self, name: str) -> Iterator[str]:
        """Yield the samples of the histogram: cumulative buckets, the sum and the count."""
        total = 0
        for bound, count in zip((*self._bounds, math.inf), self._counts, strict=True):
            total += count
            le = "+Inf" if bound == math.inf else f"{bound:g}"
            yield f'{name}_bucket{{le="{le}"}} {total}'
        yield f"{name}_sum {self._sum:.9g}"
        yield f"{name}_count {total}"


class Metrics:
    """What a server has counted since it started. One thread updates it: that of the event loop."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self.prompt_tokens = self.cached_tokens = self.completion_tokens = 0
        self.first_token = Histogram(_SECONDS)
        self.between_tokens = Histogram(_TOKEN_SECONDS)
        self.queue_time = Histogram(_SECONDS)
        self.duration = Histogram(_SECONDS)

    def count_request(self, method: str, route: str, status: int) -> None:
        """Count a finished request. `route` is the pattern of the path, so that there are few of them."""
        self._requests[method, route, status] += 1

    def render(self, engine: EngineStatus) -> str:
        """Return all metrics in Prometheus' text format, version 0.0.4."""
        return "\n".join(
            [*self._request_lines(), *self._token_lines(), *self._time_lines(), *_gauges(engine), ""]
        )

    def _request_lines(self) -> Iterator[str]:
        yield from _header("litgpt_requests_total", "counter", "Finished requests by route and HTTP status.")
        for (method, route, status), count in sorted(self._requests.items()):
            labels = f'method="{_escape(method)}",route="{_escape(route)}",status="{status}"'
            yield f"litgpt_requests_total{{{labels}}} {count}"

    def _token_lines(self) -> Iterator[str]:
        for name, text, value in (
            ("prompt_tokens", "Tokens of prompts.", self.prompt_tokens),
            ("cached_tokens", "Tokens of prompts that were in the KV cache already.", self.cached_tokens),
            ("completion_tokens", "Generated tokens.", self.completion_tokens),
        ):
            yield from _header(f"litgpt_{name}_total", "counter", text)
            yield f"litgpt_{name}_total {value}"

    def _time_lines(self) -> Iterator[str]:
        for name, text, histogram in (
            ("time_to_first_token", "Time from a request to its first token.", self.first_token),
            ("time_between_tokens", "Time between tokens of an answer.", self.between_tokens),
            ("queue_time", "Time that requests waited for a place in the batch.", self.queue_time),
            ("request_duration", "Time from a request to the end of its answer.", self.duration),
        ):
            yield from _header(f"litgpt_{name}_seconds", "histogram", text)
            yield from histogram.lines(f"litgpt_{name}_seconds")


def _gauges(engine: EngineStatus) -> Iterator[str]:
    for name, text, value in (
        ("engine_alive", "Whether the engine answers requests.", int(engine.is_alive)),
        ("engine_step_seconds", "Seconds since the current step of the engine began.", engine.step_seconds),
        ("requests_running", "Requests in the batch.", engine.running),
        ("requests_waiting", "Requests that wait for a place in the batch.", engine.waiting),
        ("kv_cache_pages_used", "Pages of the KV cache in use.", engine.kv_pages_used),
        ("kv_cache_pages", "Pages of the KV cache.", engine.kv_pages),
    ):
        yield from _header(f"litgpt_{name}", "gauge", text)
        yield f"litgpt_{name} {value:.9g}"


def _header(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
