"""The main loop of a worker process: receive commands of rank 0 and execute them."""

import json
import os
import select
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported in the loop, where a failed import is reported to the caller
    from litgpt.adapters.pytorch.distribution.tensor_parallel.rpc import CommandExecutor


def run_worker_loop(
    connection: Connection, job: Mapping[str, Any], build: Callable[[], "CommandExecutor"]
) -> None:
    """Execute commands until the caller ends this process or is gone."""
    threading.Thread(target=_exit_with_parent, args=(connection, job), daemon=True).start()
    try:
        executor = build()
        _send(connection, ready=True)
        while True:
            try:
                command = connection.recv_bytes()
            except (EOFError, OSError):
                return
            _execute(executor, command, connection)
    except Exception as error:  # noqa: BLE001 - the caller reports it
        _send(connection, error=_first_line(error))
        sys.exit(1)


def _execute(executor: "CommandExecutor", command: bytes, connection: Connection) -> None:
    from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import CollectiveError

    try:
        executor.execute(command)
    except Exception as error:
        if not executor.leave():
            raise
        if not isinstance(error, CollectiveError):  # the failed rank reports its own error
            _send(connection, error=_first_line(error), group=executor.attempt)


def _send(connection: Connection, **message: Any) -> None:
    with suppress(OSError):  # the caller is gone, so this process ends too
        connection.send_bytes(json.dumps(message).encode())


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error) or type(error).__name__).splitlines()[0]}"


def _exit_with_parent(connection: Connection, job: Mapping[str, Any]) -> None:
    """End this process when the caller is gone, and remove the rendezvous folder.

    A fork of the caller may keep the connection open, so the parent process id is checked too.
    """
    hang_up = select.poll()
    hang_up.register(connection.fileno(), 0)  # POLLHUP is always reported
    while not hang_up.poll(1000) and os.getppid() == job["caller"]:
        pass
    shutil.rmtree(job["folder"], ignore_errors=True)
    os._exit(0)
