"""Replicas of a model, and the front in a thread of this process."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import attrs

from litgpt.cli.model_loading import DistributeArguments
from litgpt.cli.replicas.job import replica_job
from litgpt.cli.replicas.processes import ReplicaProcesses
from litgpt.domain.reference import ModelReference
from litgpt.server.replicas.front import ReplicaFront
from litgpt.server.run import RunningServer, start_in_thread
from litgpt.server.settings import ServerSettings

TIMEOUT = 300.0
LONG = {"prompt": "Once upon a time", "max_tokens": 4000, "ignore_eos": True}


@attrs.frozen(eq=False)
class Served:
    """A running front with its replicas."""

    processes: ReplicaProcesses
    server: RunningServer

    def send(self, path: str, body: dict[str, Any], **headers: str) -> socket.socket:
        """Send a request and return the connection, whose answer is not read."""
        raw = json.dumps(body).encode()
        connection = socket.create_connection(("127.0.0.1", urlsplit(self.server.url).port), timeout=TIMEOUT)
        head = {
            "Host": "127.0.0.1",
            "Content-Type": "application/json",
            "Content-Length": str(len(raw)),
            **headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        connection.sendall(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + raw)
        return connection

    def get(self, path: str) -> tuple[int, Any]:
        """Return the status and the body of a response, which is parsed if it is JSON."""
        connection = HTTPConnection("127.0.0.1", urlsplit(self.server.url).port or 0, timeout=TIMEOUT)
        connection.request("GET", path)
        response = connection.getresponse()
        raw = response.read()
        connection.close()
        is_json = response.headers["content-type"].startswith("application/json")
        return response.status, json.loads(raw) if is_json else raw.decode()

    def outstanding(self) -> list[int]:
        return [it.outstanding for it in self.processes.replicas]

    def gauges(self, name: str) -> dict[str, float]:
        """Return the samples of a metric by their labels."""
        lines = [it for it in self.get("/metrics")[1].splitlines() if it.startswith(name + "{")]
        return {it[len(name) + 1 : it.index("}")]: float(it.rpartition(" ")[2]) for it in lines}


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def serving_replicas(model: str, count: int = 2, **chosen: Any) -> Iterator[Served]:
    """Serve a model with a process for each of `count` devices, here the CPU."""
    settings = ServerSettings(port=0, grace_period=5, **chosen)
    placement = DistributeArguments("cpu", None, None, count, None, None, None)
    job = replica_job(
        ModelReference(model), placement, settings, name=model, draft=None, adapters={}, quiet=True
    )
    with ReplicaProcesses(job, count) as processes:
        front = ReplicaFront(processes.replicas)
        with start_in_thread(front, settings, engine=front) as server:
            yield Served(processes, server)
