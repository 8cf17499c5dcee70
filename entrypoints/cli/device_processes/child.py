"""What the process of a device does first: it ends with its parent process, and sends it messages."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

Sender: TypeAlias = Callable[[Mapping[str, Any]], None]


def run_child(work: Callable[[Sender], None]) -> None:
    """Do the work of a process that `DeviceProcess` has started. An error of this library becomes a message.

    Args:
        work: Gets the function that sends a message to the parent process.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent process decides
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(int(sys.argv[1]),), daemon=True).start()
    messages = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a library may print

    def send(message: Mapping[str, Any]) -> None:
        raw = json.dumps(message).encode() + b"\n"
        while raw:
            raw = raw[os.write(messages, raw) :]

    from litgpt.domain.errors import LitGPTError

    with suppress(BrokenPipeError):  # the parent process is gone
        try:
            work(send)
        except LitGPTError as error:
            send({"error": str(error)})


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)  # nothing is written: it returns when the parent process is gone
    os._exit(1)
