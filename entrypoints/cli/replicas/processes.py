"""The processes of the replicas: they are started, watched, and started again when they end."""

import logging
import os
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from queue import Empty, SimpleQueue
from typing import Any, Self

import attrs

from litgpt.cli.device_processes.process import DeviceProcess, Inbox
from litgpt.cli.device_processes.shares import DeviceShares
from litgpt.domain.errors import HardwareUnavailable, LitGPTError, UnsupportedOperation
from litgpt.server.replicas.replica import Endpoint, Replica

_LOG = logging.getLogger("litgpt.server.replicas")
_WORKER = "litgpt.cli.replicas.worker"
_SECONDS = 0.2
_MIN_DELAY, _MAX_DELAY = 1.0, 60.0
"""The seconds before a process is started again: they double with each failure, up to the larger one."""

_STABLE_SECONDS = 60.0
"""How long a process has to run for the next delay to be the smallest one again."""

_PING_SECONDS = 5.0
_SILENT_SECONDS = 60.0
"""How long a process may leave `/health/live` unanswered: it is stopped, or hangs."""

_LOADING_SECONDS = 1800.0
"""How long a process that is started again may load the model, which the machine has by then."""


@attrs.define(eq=False)
class _Slot:
    """A replica and its process, if it has one."""

    replica: Replica
    process: DeviceProcess | None = None
    key: str = ""
    delay: float = _MIN_DELAY
    ready_at: float | None = None
    start_at: float = 0.0
    heard_at: float = 0.0
    ping_at: float = 0.0


class ReplicaProcesses:
    """Starts a server per device. Within its `with` block, those that end or hang are started again.

    Args:
        job: The model and the settings, as `litgpt.cli.replicas.worker` reads them, without a key.
        world: The number of devices.

    Attributes:
        replicas: The replicas at their ranks, for `ReplicaFront`.
    """

    def __init__(self, job: Mapping[str, Any], world: int) -> None:
        self.replicas = [Replica(rank) for rank in range(world)]
        self._job, self._shares = job, DeviceShares.measure(world)
        self._slots = [_Slot(replica) for replica in self.replicas]
        self._inbox: Inbox = SimpleQueue()
        self._ending = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="litgpt-replicas", daemon=True)

    def __enter__(self) -> Self:
        """Start all processes, and return when they are ready.

        Raises:
            UnsupportedOperation: Not a POSIX system.
            HardwareUnavailable: There are fewer devices of one kind.
            LitGPTError: A process could not load the model.
        """
        world = len(self._slots)
        if os.name != "posix":
            reason = "it needs a POSIX system, such as Linux or macOS. Start one server per device there."
            raise UnsupportedOperation(f"devices={world}", reason)
        try:
            # The last device first and alone: a download or a wrong option is for it, too, or it is missing.
            self._start(self._slots[-1], quiet=self._job["quiet"])
            self._await_ready(1)
            for slot in self._slots[:-1]:
                self._start(slot, quiet=True)
            self._await_ready(world)
        except BaseException:
            self._kill()
            raise
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._watcher.join()
        self._kill()

    def pids(self) -> list[int | None]:
        """Return the process ids at the ranks; None: it does not run."""
        return [None if slot.process is None else slot.process.pid for slot in self._slots]

    def _kill(self) -> None:
        for slot in self._slots:
            slot.replica.endpoint = None
            if slot.process is not None:
                slot.process.kill()
                slot.process = None

    def _start(self, slot: _Slot, *, quiet: bool = True) -> None:
        import secrets  # hashing of passwords, which no other command needs

        slot.key = secrets.token_urlsafe(32)
        settings = {**self._job["settings"], "host": "127.0.0.1", "port": 0, "api_keys": [slot.key]}
        job = {**self._job, "quiet": quiet, "settings": settings}
        slot.process = DeviceProcess(_WORKER, job, self._shares, slot.replica.rank, self._inbox)
        slot.heard_at = time.monotonic()

    def _await_ready(self, count: int) -> None:
        while sum(slot.replica.endpoint is not None for slot in self._slots) < count:
            process, message = self._inbox.get()
            if message is None:
                raise UnsupportedOperation("Starting a replica", f"{process.exit_reason()}.")
            if "error" in message:
                raise LitGPTError(message["error"])
            self._set_ready(process, message)
        kinds = {slot.process.device for slot in self._slots if slot.process is not None}
        if len(kinds - {""}) > 1:
            reason = f"there are fewer of one kind: {' and '.join(sorted(kinds))} were found."
            raise HardwareUnavailable(f"devices={len(self._slots)}", reason)

    def _set_ready(self, process: DeviceProcess, message: Mapping[str, Any]) -> None:
        slot = self._slots[process.rank]
        process.device, slot.ready_at = message["device"], time.monotonic()
        slot.heard_at = slot.ping_at = slot.ready_at
        slot.replica.endpoint = Endpoint(message["host"], message["port"], slot.key)

    def _watch(self) -> None:
        while not self._ending.is_set():
            try:
                process, message = self._inbox.get(timeout=_SECONDS)
            except Empty:
                pass
            else:
                self._receive(process, message)
            for slot in self._slots:
                self._look_at(slot, time.monotonic())

    def _look_at(self, slot: _Slot, now: float) -> None:
        process, endpoint = slot.process, slot.replica.endpoint
        if process is None:
            if slot.start_at <= now:
                self._start_again(slot)
        elif now - slot.heard_at > (limit := _LOADING_SECONDS if endpoint is None else _SILENT_SECONDS):
            self._plan_restart(slot, f"it has not answered for {limit:g} s")
        elif endpoint is not None and slot.ping_at <= now:
            slot.ping_at = now + _PING_SECONDS
            try:
                threading.Thread(target=self._ping, args=(process, endpoint), daemon=True).start()
            except RuntimeError:  # no thread is left, which is not the fault of the process
                slot.heard_at = now

    def _start_again(self, slot: _Slot) -> None:
        try:
            self._start(slot)
        except (OSError, RuntimeError) as error:  # no memory, process or thread is left
            self._plan_restart(slot, f"it could not be started ({error})")

    def _ping(self, process: DeviceProcess, endpoint: Endpoint) -> None:
        """Send a message in the name of a process whose server answers."""
        with closing(HTTPConnection(endpoint.host, endpoint.port, timeout=_SILENT_SECONDS)) as connection:
            try:
                connection.request("GET", "/health/live")
                connection.getresponse()
            except (OSError, HTTPException):
                return
        self._inbox.put((process, {"alive": True}))

    def _receive(self, process: DeviceProcess, message: Mapping[str, Any] | None) -> None:
        slot = self._slots[process.rank]
        if slot.process is not process:
            return
        slot.heard_at = time.monotonic()
        if message is None:
            self._plan_restart(slot, process.exit_reason())
        elif "error" in message:
            _LOG.error("Replica %d cannot start: %s", process.rank, message["error"])
        elif "host" in message:
            self._set_ready(process, message)
            _LOG.info("Replica %d answers again.", process.rank)

    def _plan_restart(self, slot: _Slot, reason: str) -> None:
        now = time.monotonic()
        if slot.ready_at is not None and now - slot.ready_at > _STABLE_SECONDS:
            slot.delay = _MIN_DELAY
        process, slot.process = slot.process, None
        slot.replica.endpoint = slot.ready_at = None
        if process is not None:
            process.kill()
        rank = slot.replica.rank
        _LOG.error("Replica %d has ended: %s. It starts again in %g s.", rank, reason, slot.delay)
        slot.start_at, slot.delay = now + slot.delay, min(2 * slot.delay, _MAX_DELAY)
