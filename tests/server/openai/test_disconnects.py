"""Clients that go away, that are slow, and that come in numbers."""

import json
import random
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from openai import OpenAI

from litgpt import LLM
from litgpt.application.serving.stats import EngineStats
from litgpt.server.app import create_app
from litgpt.server.run import start_in_thread
from litgpt.server.settings import ServerSettings

TIMEOUT = 120.0


class Served:
    """A server of its own, whose engine the tests look at."""

    def __init__(self, llm: LLM, **settings: Any) -> None:
        chosen = ServerSettings(port=0, **settings)
        app = create_app(llm._served_model("smollm2"), chosen)
        self._context = app.state.litgpt
        self.server = start_in_thread(app, chosen, engine=self._context)
        self.address = ("127.0.0.1", urlsplit(self.server.url).port)

    def stats(self) -> EngineStats:
        found: EngineStats = self._context.service.engine.stats()
        return found

    def wait(self, condition: Callable[[EngineStats], bool]) -> EngineStats:
        end = time.monotonic() + TIMEOUT
        while not condition(stats := self.stats()):
            assert time.monotonic() < end, stats
            time.sleep(0.01)
        return stats

    def send(self, path: str, body: dict[str, Any]) -> socket.socket:
        """Send a request and return the connection, whose answer is not read."""
        raw = json.dumps(body).encode()
        connection = socket.create_connection(self.address, timeout=TIMEOUT)
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
        return connection


@pytest.fixture
def served(llm: LLM) -> Any:
    running = Served(llm)
    yield running
    running.server.close()


def _is_idle(stats: EngineStats) -> bool:
    return stats.running == 0 and stats.waiting == 0


LONG = {"prompt": "Once upon a time", "max_tokens": 4000, "ignore_eos": True}


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_ends_its_answer(served: Served, *, stream: bool) -> None:
    connection = served.send("/v1/completions", {**LONG, "stream": stream})
    served.wait(lambda stats: stats.completion_tokens > 3)
    connection.close()
    served.wait(_is_idle)
    assert served.stats().completion_tokens < 4000


def test_a_client_that_goes_away_ends_its_prefill(served: Served) -> None:
    prompt = random.Random(0).choices(range(1000, 40_000), k=8000)  # noqa: S311
    connection = served.send("/v1/completions", {"prompt": prompt, "max_tokens": 5})
    served.wait(lambda stats: stats.running == 1)
    connection.close()
    served.wait(_is_idle)
    assert served.stats().completion_tokens == 0


def test_clients_that_go_away_leave_nothing_behind(served: Served, llm: LLM) -> None:
    choice = random.Random(1)  # noqa: S311

    def visit(number: int) -> None:
        connection = served.send("/v1/completions", {**LONG, "prompt": f"{number} " * 30, "stream": True})
        time.sleep(choice.random() / 20)
        connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(visit, range(40)))
    served.wait(_is_idle)
    # The pages of cached prefixes are evicted when others need them.
    answer = OpenAI(base_url=f"{served.server.url}/v1", api_key="none").completions.create(
        model="smollm2", prompt="The capital of France is", max_tokens=4, temperature=0
    )
    expected = llm.generate(
        "The capital of France is", max_new_tokens=4, temperature=0, apply_chat_template=False
    )
    assert answer.choices[0].text == expected


def test_a_slow_reader_does_not_slow_the_others(served: Served) -> None:
    slow = served.send("/v1/completions", {**LONG, "stream": True, "logprobs": 5})
    served.wait(lambda stats: stats.completion_tokens > 3)
    client = OpenAI(base_url=f"{served.server.url}/v1", api_key="none")
    answer = client.completions.create(model="smollm2", prompt="One two", max_tokens=20, temperature=0)
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 20
    slow.close()
    served.wait(_is_idle)


def test_further_requests_are_refused_with_a_time_when_the_queue_is_full(llm: LLM) -> None:
    served = Served(llm, max_queue=1)
    try:
        connections = [served.send("/v1/completions", {**LONG, "n": 128}) for _ in range(2)]
        served.wait(lambda stats: stats.running + stats.waiting >= 256)
        refused = HTTPConnection(*served.address, timeout=TIMEOUT)
        body = json.dumps({**LONG, "n": 2})
        refused.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        response = refused.getresponse()
        assert response.status == 429
        assert int(response.headers["Retry-After"]) >= 1
        assert json.loads(response.read())["error"]["code"] == "rate_limit_exceeded"
        refused.close()
        for connection in connections:
            connection.close()
        served.wait(_is_idle)
    finally:
        served.server.close()


def test_a_change_of_the_model_that_waits_delays_no_other_route(served: Served, llm: LLM) -> None:
    def get(path: str) -> int:
        with closing(HTTPConnection(*served.address, timeout=TIMEOUT)) as connection:
            connection.request("GET", path)
            return connection.getresponse().status

    assert get("/v1/models") == 200
    running = served.send("/v1/completions", {**LONG, "max_tokens": 7000, "stream": True})
    served.wait(lambda stats: stats.running == 1)

    def change() -> None:
        with llm._lock.changing("a test"):
            pass

    changing = threading.Thread(target=change)
    changing.start()
    while not llm._lock._queue:
        time.sleep(0.01)
    assert [get("/v1/models"), get("/health/live"), get("/v1/models/smollm2")] == [200] * 3
    assert changing.is_alive()
    running.close()
    changing.join(TIMEOUT)
    assert not changing.is_alive()
