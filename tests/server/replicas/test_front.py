"""The front of several servers: small ones in threads of this process, with settings of their own."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from litgpt.server.metrics import EngineStatus, Metrics
from litgpt.server.replicas.front import ReplicaFront
from litgpt.server.replicas.metrics import merge_metrics
from litgpt.server.replicas.replica import Endpoint, Replica
from litgpt.server.run import RunningServer, start_in_thread
from litgpt.server.settings import ServerSettings
from tests.server.http.small_app import port_of
from tests.server.http.test_observation import samples

KEY = "a-key-of-a-replica"


def answering(status: int, name: str, seen: list[dict[str, str]]) -> Starlette:
    async def answer(request: Request) -> Response:
        seen.append({**request.headers, "query": request.url.query, "body": (await request.body()).decode()})
        error = {"error": {"message": name, "type": "rate_limit_error", "param": None, "code": None}}
        return JSONResponse({"name": name} if status == 200 else error, status, {"Retry-After": "7"})

    return Starlette(routes=[Route("/v1/completions", answer, methods=["POST"])])


@contextmanager
def front_of(
    *statuses: int | None, predict_path: str | None = None, **chosen: Any
) -> Iterator[tuple[RunningServer, list[dict[str, str]]]]:
    """Serve a front of servers that answer with these statuses; None: one that does not listen."""
    seen: list[dict[str, str]] = []
    with ExitStack() as stack:
        replicas = []
        for rank, status in enumerate(statuses):
            inner = start_in_thread(
                answering(status or 200, f"replica {rank}", seen), ServerSettings(port=0, api_keys=(KEY,))
            )
            stack.callback(inner.close)
            replicas.append(Replica(rank, Endpoint("127.0.0.1", port_of(inner), KEY)))
            if status is None:
                inner.close()
        front = ReplicaFront(replicas, predict_path=predict_path)
        yield (
            stack.enter_context(start_in_thread(front, ServerSettings(port=0, **chosen), engine=front)),
            seen,
        )


def post(
    server: RunningServer, body: Any, path: str = "/v1/completions", **headers: str
) -> tuple[int, Any, str | None]:
    connection = HTTPConnection("127.0.0.1", urlsplit(server.url).port or 0, timeout=120)
    raw = body if isinstance(body, str) else json.dumps(body)
    connection.request("POST", path, raw, {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    found = json.loads(response.read())
    connection.close()
    return response.status, found, response.headers["retry-after"]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((429, 200), (200, "replica 1")),
        ((None, 503, 200), (200, "replica 2")),
        ((429, 429), (429, "replica 1")),
        ((None, None), (503, "No process")),
        ((400, 200), (400, "replica 0")),
    ],
)
def test_another_replica_answers_if_one_is_busy_or_gone(
    statuses: tuple[int | None, ...], expected: tuple[int, str]
) -> None:
    with front_of(*statuses) as (server, _):
        status, found, retry_after = post(server, {"prompt": "x"})
        assert status == expected[0]
        assert expected[1] in json.dumps(found)
        assert (retry_after is not None) == (status != 503 or statuses == (None, None))


def test_the_key_of_a_client_stays_in_the_front_and_that_of_the_replica_behind_it() -> None:
    with front_of(200, api_keys=["the-key-of-a-client"]) as (server, seen):
        assert post(server, {"prompt": "x"})[0] == 401
        assert post(server, {"prompt": "x"}, Authorization=f"Bearer {KEY}")[0] == 401
        assert not seen
        sent = {
            "Authorization": "Bearer the-key-of-a-client",
            "X-Request-Id": "mine",
            "Connection": "X-Own, close",
        }
        assert post(server, {"prompt": "x"}, "/v1/completions?a=%20b", **sent)[0] == 200
    assert seen[0]["authorization"] == f"Bearer {KEY}"
    assert (seen[0]["x-request-id"], seen[0]["query"]) == ("mine", "a=%20b")
    assert json.loads(seen[0]["body"]) == {"prompt": "x"}
    assert "the-key-of-a-client" not in str(seen)


def test_what_is_no_json_is_refused_in_the_front() -> None:
    with front_of(200) as (server, seen):
        assert post(server, "{")[0] == 400
        assert not seen


def test_requests_are_counted_by_the_routes_of_the_api() -> None:
    with front_of(400, predict_path="/ask") as (server, _):
        for path in ("/v1/completions", "/v1/models/smollm2/x", "/ask", "/v1/nothing", "/v1/completions/x"):
            post(server, {"prompt": "x"}, path)
        post(server, "{")
        connection = HTTPConnection("127.0.0.1", port_of(server), timeout=120)
        connection.request("GET", "/metrics")
        values = samples(connection.getresponse().read().decode())
        connection.close()
    found = {name: value for name, value in values.items() if name.startswith("litgpt_requests_total")}
    assert found == {
        f'litgpt_requests_total{{method="POST",route="{route}",status="{status}"}}': count
        for route, status, count in (
            ("/v1/completions", 400, 2),
            ("/v1/models/{model:path}", 404, 1),
            ("/ask", 404, 1),
            ("other", 404, 2),
        )
    }


def test_a_replica_that_is_busy_is_not_remembered_for_the_prompt() -> None:
    with front_of(429, 200) as (server, seen):
        body = {"prompt": "A long prompt. " * 100}
        assert [post(server, body)[0] for _ in range(4)] == [200] * 4
    assert len(seen) == 5  # the second replica has answered the first one, and gets the others at once


def test_the_metrics_of_replicas_have_labels_and_those_that_do_not_run_are_seen() -> None:
    front, replica = Metrics(), Metrics()
    front.count_request("POST", "/v1/completions", 200)
    replica.count_request("POST", "/v1/completions", 200)
    replica.completion_tokens = 5
    text = merge_metrics(front.render(EngineStatus()), [None, replica.render(EngineStatus(running=2))])
    values = samples(text)
    assert values['litgpt_requests_total{method="POST",route="/v1/completions",status="200"}'] == 1
    assert values['litgpt_completion_tokens_total{replica="1"}'] == 5
    assert values['litgpt_queue_time_seconds_bucket{replica="1",le="+Inf"}'] == 0
    assert values['litgpt_engine_alive{replica="0"}'] == 0
    assert values['litgpt_engine_alive{replica="1"}'] == 1
    assert values['litgpt_requests_running{replica="1"}'] == 2
    assert sum(name.startswith("litgpt_requests_total") for name in values) == 1


@pytest.mark.parametrize(
    ("running", "status", "state"), [(2, 200, "ok"), (1, 200, "degraded"), (0, 503, "stopped")]
)
def test_health_says_how_many_run(running: int, status: int, state: str) -> None:
    replicas = [Replica(rank, Endpoint("127.0.0.1", 1, KEY) if rank < running else None) for rank in range(2)]
    front = ReplicaFront(replicas)
    with start_in_thread(front, ServerSettings(port=0), engine=front) as server:
        connection = HTTPConnection("127.0.0.1", urlsplit(server.url).port or 0, timeout=120)
        connection.request("GET", "/health")
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())) == (status, {"status": state})
        connection.close()
