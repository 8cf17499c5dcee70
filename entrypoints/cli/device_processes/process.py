"""The process of one device, which has a copy of the model."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeAlias

from litgpt.cli.device_processes.shares import DeviceShares

Inbox: TypeAlias = "SimpleQueue[tuple[DeviceProcess, dict[str, Any] | None]]"
"""The messages of all processes; None: the process has closed its output."""


class DeviceProcess:
    """A process and its threads, so that the caller never waits for a pipe.

    Args:
        module: The module that it runs, with `run_child`.
        job: Its first line of stdin.
        shares: What it gets of the machine.
        rank: The index of its device.
        inbox: Where its messages go.

    Attributes:
        num_running: The number of lines of a batch that it has, and has not answered.
        device: The type of its device, when the model is loaded.

    Raises:
        OSError: The machine has no memory or process left for it.
        RuntimeError: It has no thread left.
    """

    def __init__(
        self, module: str, job: Mapping[str, Any], shares: DeviceShares, rank: int, inbox: Inbox
    ) -> None:
        self.rank, self.num_running, self.device = rank, 0, ""
        # It is open for as long as this process exists, however that ends.
        lifeline, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - a module of this package
                [sys.executable, "-P", "-m", module, str(lifeline)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                process_group=0,  # Ctrl-C reaches the caller only
                env=shares.environment(rank),
                pass_fds=[lifeline],
            )
            self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
            for work in (self._write, self._read):
                threading.Thread(target=work, args=(inbox,), daemon=True).start()
        except BaseException:
            os.close(self._lifeline)  # also ends a process whose threads could not be started
            raise
        finally:
            os.close(lifeline)
        self._send(job)

    @property
    def pid(self) -> int:
        return self._process.pid

    def answer(self, number: int, fields: Mapping[str, Any]) -> None:
        """Send a line, which is answered by a message."""
        self.num_running += 1
        self._send(fields, f"{number} ".encode())

    def finish(self) -> None:
        """Let the process end after the lines that it has."""
        self._outbox.put(None)

    def exit_reason(self) -> str:
        """Wait for the end of the process, and return its reason."""
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return "it was ended by SIGKILL, possibly because memory ran out"
        return f"it ended with status {code}" if code >= 0 else f"it was ended by signal {-code}"

    def kill(self) -> None:
        """End the process, once; also needed after it has ended by itself."""
        self._process.kill()
        self._process.wait()
        os.close(self._lifeline)

    def _send(self, value: Mapping[str, Any], before: bytes = b"") -> None:
        self._outbox.put(before + json.dumps(value).encode() + b"\n")

    def _write(self, _: Inbox) -> None:
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - it is a pipe
        with suppress(OSError):  # the process is gone, which the other thread reports
            while (raw := self._outbox.get()) is not None:
                stdin.write(raw)
                stdin.flush()
        with suppress(OSError):
            stdin.close()

    def _read(self, inbox: Inbox) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        with self._process.stdout as messages:
            for raw in messages:
                with suppress(ValueError):  # a killed process leaves an incomplete one
                    inbox.put((self, json.loads(raw)))
        inbox.put((self, None))
