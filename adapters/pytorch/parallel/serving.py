"""What a worker does: its rank's part of the model, as the first rank tells it."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Client, Connection
from typing import Any

from litgpt.adapters.pytorch.parallel.commands import Commands
from litgpt.adapters.pytorch.parallel.crew import BEAT
from litgpt.adapters.pytorch.parallel.group import CollectiveError

_EVERY = 0.5


def serve(call: Mapping[str, Any], build: Callable[[], Commands]) -> None:
    """Serve until the caller closes this process's stdin, or is gone.

    Args:
        call: What the caller said on stdin.
        build: Returns what obeys, once the model is there.

    """
    # Ctrl-C reaches all processes of a terminal; what it means is for the caller to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = Client(("127.0.0.1", call["port"]), authkey=bytes.fromhex(call["key"]))
    line.send_bytes(json.dumps({"rank": call["rank"]}).encode())
    lock = threading.Lock()
    threading.Thread(target=_beat, args=(line, lock), daemon=True).start()
    threading.Thread(target=_end_with_caller, daemon=True).start()
    try:
        commands = build()
        while True:
            command = line.recv_bytes()
            try:
                commands.obey(command)
            except Exception as error:
                if not commands.leave():
                    raise
                if not isinstance(error, CollectiveError):  # which is another's fault
                    _say(line, lock, error=_first_line(error), group=commands.group_number)
    except (EOFError, ConnectionError):
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller should know
        _say(line, lock, error=_first_line(error))
        time.sleep(_EVERY)  # so that it is read before the end of this process is noticed
        sys.exit(1)


def _say(line: Connection, lock: threading.Lock, **message: Any) -> None:
    with lock:
        line.send_bytes(json.dumps(message).encode())


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error) or type(error).__name__).splitlines()[0]}"


def _beat(line: Connection, lock: threading.Lock) -> None:
    while True:
        try:
            with lock:
                line.send_bytes(BEAT)
        except OSError:
            os._exit(0)
        time.sleep(_EVERY)


def _end_with_caller() -> None:
    sys.stdin.buffer.read()  # which returns when the caller has closed it, or is gone
    os._exit(0)
