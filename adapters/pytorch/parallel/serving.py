"""What a worker does: its rank's part of the model, as the first rank tells it."""

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

if TYPE_CHECKING:  # an import that fails is an error to be said, as any other
    from litgpt.adapters.pytorch.parallel.commands import Commands


def serve(line: Connection, call: Mapping[str, Any], build: Callable[[], "Commands"]) -> None:
    """Serve until the caller ends this process, or is gone.

    Args:
        line: To the caller.
        call: What the caller said first.
        build: Returns what obeys, once the model is there.

    """
    threading.Thread(target=_end_with_caller, args=(line, call), daemon=True).start()
    try:
        commands = build()
        _say(line, ready=True)
        while True:
            try:
                command = line.recv_bytes()
            except (EOFError, OSError):
                return
            _obey(commands, command, line)
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller should know
        _say(line, error=_first_line(error))
        sys.exit(1)


def _obey(commands: "Commands", command: bytes, line: Connection) -> None:
    from litgpt.adapters.pytorch.parallel.group import CollectiveError

    try:
        commands.obey(command)
    except Exception as error:
        if not commands.leave():
            raise
        if not isinstance(error, CollectiveError):  # which is another's fault
            _say(line, error=_first_line(error), group=commands.group_number)


def _say(line: Connection, **message: Any) -> None:
    with suppress(OSError):  # the caller is gone, and this process about to be
        line.send_bytes(json.dumps(message).encode())


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error) or type(error).__name__).splitlines()[0]}"


def _end_with_caller(line: Connection, call: Mapping[str, Any]) -> None:
    """End this process when the caller is gone, and remove what it can no longer remove itself.

    A fork of the caller may keep the connection open, so its process is looked for too.
    """
    hang_up = select.poll()
    hang_up.register(line.fileno(), 0)  # no event but that the other end is closed
    while not hang_up.poll(1000) and os.getppid() == call["caller"]:
        pass
    shutil.rmtree(call["folder"], ignore_errors=True)
    os._exit(0)
