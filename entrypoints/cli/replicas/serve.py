"""Serve a model with a process per device, behind one address."""

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from litgpt.cli import console

if TYPE_CHECKING:
    from litgpt.server.settings import ServerSettings


def serve_replicas(
    job: Mapping[str, Any], count: int, settings: "ServerSettings", listener: socket.socket
) -> None:
    """Serve until a signal.

    Args:
        job: What `replica_job` returns.
        count: The number of devices.
        settings: Those of the front.
        listener: The socket of `listen`.

    Raises:
        LitGPTError: A process cannot load the model.
    """
    from litgpt.cli.replicas.processes import ReplicaProcesses
    from litgpt.server.replicas.front import ReplicaFront
    from litgpt.server.run import run
    from litgpt.server.startup_text import replicas_text

    with ReplicaProcesses(job, count) as processes:
        predict = job["predict"]
        front = ReplicaFront(processes.replicas, predict_path=None if predict is None else predict["path"])

        def announce(url: str) -> None:
            if not job["quiet"]:
                console.note(replicas_text(job["name"], count, settings, url))

        run(front, settings, engine=front, listener=listener, on_ready=announce)
