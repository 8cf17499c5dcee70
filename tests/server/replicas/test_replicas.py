"""A server per device behind one address: two processes with a copy of SmolLM2 each."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.server.replicas.running_replicas import LONG, Served, serving_replicas, wait_for

SYSTEM = "You are the curator of a small museum of natural history. " * 6


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving_replicas("smollm2") as running:
        yield running


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{served.server.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def events(raw: bytes) -> list[Any]:
    lines = [it for it in raw.decode().splitlines() if it.startswith("data: {")]
    return [json.loads(it.removeprefix("data: ")) for it in lines]


def rest(connection: socket.socket) -> bytes:
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def ask(client: OpenAI, messages: Any) -> Any:
    return client.chat.completions.create(model="smollm2", messages=messages, max_tokens=8, temperature=0)


def test_each_replica_has_its_share_of_the_machine(served: Served) -> None:
    limits = []
    for pid in served.processes.pids():
        raw = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        limits += [int(it.partition("=")[2]) for it in raw if it.startswith("LITGPT_MEMORY_LIMIT=")]
    pages = served.gauges("litgpt_kv_cache_pages")
    assert len(limits) == 2
    assert limits[0] == limits[1]
    assert set(pages) == {'replica="0"', 'replica="1"'}


def test_a_conversation_stays_with_the_replica_that_has_its_beginning(served: Served, client: OpenAI) -> None:
    for number in range(3):
        opening = f"{number}. {SYSTEM}"
        messages = [
            {"role": "system", "content": opening},
            {"role": "user", "content": "Which birds are there?"},
        ]
        first = ask(client, messages)
        said = {"role": "assistant", "content": first.choices[0].message.content}
        second = ask(client, [*messages, said, {"role": "user", "content": "And which fish?"}])
        assert second.usage.prompt_tokens_details.cached_tokens >= 0.7 * first.usage.prompt_tokens
    wait_for(lambda: served.outstanding() == [0, 0])


def test_requests_at_once_are_divided_and_their_answers_are_those_of_one_server(
    served: Served, client: OpenAI
) -> None:
    before = served.gauges("litgpt_completion_tokens_total")

    def complete(number: int) -> str:
        stream = client.completions.create(
            model="smollm2", prompt=f"The number {number} is", max_tokens=12, temperature=0, stream=True
        )
        return "".join(chunk.choices[0].text for chunk in stream if chunk.choices)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(complete, [*range(6), *range(6)]))
    assert answers[:6] == answers[6:]
    after = served.gauges("litgpt_completion_tokens_total")
    assert all(after[replica] > before[replica] for replica in before)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_ends_its_answer_in_the_replica(served: Served, *, stream: bool) -> None:
    connection = served.send("/v1/completions", {**LONG, "stream": stream})
    wait_for(lambda: sum(served.gauges("litgpt_requests_running").values()) == 1)
    connection.close()
    wait_for(lambda: sum(served.gauges("litgpt_requests_running").values()) == 0)
    wait_for(lambda: served.outstanding() == [0, 0])


def test_checks_are_in_the_front_and_errors_are_passed_on(served: Served) -> None:
    models = served.get("/v1/models")[1]["data"]
    assert [it["id"] for it in models] == ["smollm2"]
    assert served.get("/v1/nothing")[0] == 404
    assert served.get("/health") == (200, {"status": "ok"})
    for body, status in (({"prompt": "x", "temperature": -1}, 400), ({"prompt": "x", "model": "y"}, 404)):
        connection = served.send("/v1/completions", body, Connection="close")
        assert rest(connection).startswith(f"HTTP/1.1 {status} ".encode())
    slash = rest(served.send("/v1/completions/", {"prompt": "x"}, Connection="close"))
    assert slash.startswith(b"HTTP/1.1 404 ")  # and no redirection to the address of a replica
    for replica in served.processes.replicas:
        assert replica.endpoint is not None
        assert replica.endpoint.key not in repr(replica)
    requests = served.gauges("litgpt_requests_total")
    assert requests['method="GET",route="other",status="404"'] == 1
    assert requests['method="POST",route="other",status="404"'] == 1
    assert requests['method="POST",route="/v1/completions",status="400"'] == 1


def test_the_answers_of_a_replica_that_dies_end_with_an_error_and_it_is_started_again(served: Served) -> None:
    streams = [served.send("/v1/completions", {**LONG, "stream": True}, Connection="close") for _ in range(2)]
    whole = served.send("/v1/completions", {**LONG, "max_tokens": 4000}, Connection="close")
    for stream in streams:
        assert b"data: " in stream.recv(65536) + stream.recv(65536)
    wait_for(lambda: sum(served.outstanding()) == 3)
    pids = served.processes.pids()
    busy = served.outstanding()
    first = 0 if busy[0] else 1
    kill(pids[first])
    wait_for(lambda: served.outstanding()[first] == 0)
    assert served.outstanding()[1 - first] == busy[1 - first]  # the others go on
    kill(pids[1 - first])
    for stream in streams:
        last = events(rest(stream))[-1]["error"]
        assert (last["type"], last["code"]) == ("server_error", "service_unavailable")
        assert "Send the request again" in last["message"]
    assert rest(whole).startswith(b"HTTP/1.1 503 ")
    wait_for(lambda: served.get("/health")[1]["status"] in ("stopped", "degraded"))
    wait_for(lambda: served.get("/health") == (200, {"status": "ok"}))
    assert all(new not in pids for new in served.processes.pids())
    answer = served.send("/v1/completions", {"prompt": "One", "max_tokens": 2}, Connection="close")
    assert rest(answer).startswith(b"HTTP/1.1 200 ")
