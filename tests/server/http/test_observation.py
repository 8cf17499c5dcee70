"""`/health` and `/metrics`."""

import re

import attrs

from litgpt.server.metrics import EngineStatus, Histogram, Metrics
from tests.server.http.small_app import request, serving

SAMPLE = re.compile(r'[a-z_]+(\{[a-z]+="[^"\n]*"(,[a-z]+="[^"\n]*")*\})? -?[0-9.e+-]+')


@attrs.define
class Engine:
    current: EngineStatus = attrs.field(factory=EngineStatus)

    def status(self) -> EngineStatus:
        return self.current


def samples(text: str) -> dict[str, float]:
    """Return the samples of Prometheus' text format, which is checked line by line."""
    values = {}
    typed = set()
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# TYPE "):
            typed.add(line.split()[2])
        elif not line.startswith("# HELP "):
            assert SAMPLE.fullmatch(line), line
            name, value = line.rsplit(" ", 1)
            assert re.sub(r"(_bucket|_sum|_count)?(\{.*)?$", "", name) in typed or name.split("{")[0] in typed
            assert name not in values
            values[name] = float(value)
    return values


def test_health_follows_the_engine() -> None:
    engine = Engine()
    with serving(engine=engine) as server:
        assert request(server, "GET", "/health").json() == {"status": "ok"}
        engine.current = EngineStatus(is_alive=False)
        reply = request(server, "GET", "/health")
        assert (reply.status, reply.json()) == (503, {"status": "stopped"})
        engine.current = EngineStatus(step_seconds=301)
        reply = request(server, "GET", "/health")
        assert (reply.status, reply.json()) == (503, {"status": "stalled"})
        assert request(server, "GET", "/health/live").status == 200


def test_metrics_count_requests_tokens_and_times() -> None:
    engine = Engine(EngineStatus(running=3, waiting=2, kv_pages_used=17, kv_pages=100))
    with serving(engine=engine) as server:
        for _ in range(2):
            request(server, "POST", "/v1/echo", {})
        request(server, "POST", "/v1/echo", b"nonsense")
        for path in ("/v1/random-1", "/v1/random-2"):
            request(server, "GET", path)
        request(server, "BREW", "/v1/random-3")
        reply = request(server, "GET", "/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    values = samples(reply.body.decode())
    assert values['litgpt_requests_total{method="POST",route="/v1/echo",status="200"}'] == 2
    assert values['litgpt_requests_total{method="POST",route="/v1/echo",status="400"}'] == 1
    assert values['litgpt_requests_total{method="GET",route="other",status="404"}'] == 2
    assert values['litgpt_requests_total{method="other",route="other",status="404"}'] == 1
    assert values["litgpt_prompt_tokens_total"] == 24
    assert values["litgpt_cached_tokens_total"] == 16
    assert values["litgpt_completion_tokens_total"] == 6
    assert values["litgpt_time_to_first_token_seconds_count"] == 2
    assert values["litgpt_time_between_tokens_seconds_count"] == 4
    assert values["litgpt_request_duration_seconds_count"] == 2
    assert values['litgpt_queue_time_seconds_bucket{le="0.005"}'] == 2
    assert values['litgpt_queue_time_seconds_bucket{le="+Inf"}'] == 2
    assert values["litgpt_queue_time_seconds_sum"] == 0.004
    assert values["litgpt_requests_running"] == 3
    assert values["litgpt_requests_waiting"] == 2
    assert values["litgpt_kv_cache_pages_used"] == 17
    assert values["litgpt_kv_cache_pages"] == 100
    assert values["litgpt_engine_alive"] == 1


def test_buckets_are_cumulative_and_include_their_bounds() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 1.0, 7.0):
        histogram.observe(value)
    assert list(histogram.lines("h")) == [
        'h_bucket{le="0.1"} 2',
        'h_bucket{le="1"} 4',
        'h_bucket{le="+Inf"} 5',
        "h_sum 8.65",
        "h_count 5",
    ]


def test_labels_are_escaped() -> None:
    metrics = Metrics()
    metrics.count_request("GET", 'a"b\\c\nd', 200)
    assert r'route="a\"b\\c\nd"' in metrics.render(EngineStatus())
