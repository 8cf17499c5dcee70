"""Answer the lines of a batch with one process per device."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Self

from litgpt.application.batch.lines import BatchLine
from litgpt.application.batch.progress import BatchCounts, SkippedLines
from litgpt.application.batch.results import error_result
from litgpt.application.files.id_set import IdSet
from litgpt.cli.device_processes.process import DeviceProcess, Inbox
from litgpt.cli.device_processes.shares import DeviceShares
from litgpt.domain.errors import HardwareUnavailable, LitGPTError, UnsupportedOperation
from litgpt.domain.generation.errors import WorkerLost

_WORKER = "litgpt.cli.batches.worker"
_MAX_LINES = 320
"""The lines that a process has at most: those that run together, and some that wait."""
_SECONDS = 0.1
"""The longest time between two looks at whether there are new lines, or a signal."""
_TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens")


class DeviceProcesses:
    """Deals lines to processes that have a copy of the model each; it replaces `RunBatch`.

    Within its `with` block, the processes run.

    Args:
        job: The model and the options, as `litgpt.cli.batches.worker` reads them.
        world: The number of devices.
        write: Gets the output of each line as soon as it is complete.
        done: The ids that the output has already.
        total: The number of lines; None: unknown.
    """

    def __init__(
        self,
        job: Mapping[str, Any],
        world: int,
        write: Callable[[Mapping[str, Any]], None],
        done: IdSet,
        total: int | None,
    ) -> None:
        self.counts = BatchCounts()
        self._job, self._world, self._write = job, world, write
        self._shares = DeviceShares.measure(world)
        self._skipped = SkippedLines(done, self.counts)
        # Of a short file, no process takes more than its share.
        self._max_lines = _MAX_LINES if total is None else max(1, min(_MAX_LINES, -(-total // world)))
        self._inbox: Inbox = SimpleQueue()
        self._processes: list[DeviceProcess] = []
        self._tokens: dict[int, Mapping[str, int]] = {}
        self._kind = ""  # the type of all devices, when the first one is ready
        self._failure: LitGPTError | None = None
        self._has_ended = False

    def __enter__(self) -> Self:
        if os.name != "posix":
            reason = "it needs a POSIX system, such as Linux or macOS. Use --shard in several terminals."
            raise UnsupportedOperation(f"devices={self._world}", reason)
        try:
            # The last device first and alone: a download or a wrong option is for it, too, or it is missing.
            self._start(self._world - 1, quiet=self._job["quiet"])
            while not self._has_ended and not self._processes[0].device:
                self._receive(*self._inbox.get())
            self._raise_failure()
            for rank in range(self._world - 1):
                self._start(rank, quiet=True)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()

    @property
    def is_answering(self) -> bool:
        return True  # the loop below waits for lines and messages at once

    def __call__(self, lines: Iterable[BatchLine | None]) -> Iterator[BatchCounts]:
        """Answer all lines; yield the counts after each answer.

        Raises:
            LitGPTError: A process cannot load the model, or a line needs a missing package.
            WorkerLost: A process has ended; raised after the lines of the others are answered.
        """
        waiting = iter(lines)
        while True:
            self._deal(waiting)
            if self._has_ended and not any(it.num_running for it in self._processes):
                break
            with suppress(Empty):
                self._receive(*self._inbox.get(timeout=_SECONDS))
            yield self.counts
        for process in self._processes:
            process.finish()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _start(self, rank: int, *, quiet: bool) -> None:
        job = {**self._job, "quiet": quiet}
        self._processes.append(DeviceProcess(_WORKER, job, self._shares, rank, self._inbox))

    def _deal(self, lines: Iterator[BatchLine | None]) -> None:
        """Give lines to the processes that have the fewest."""
        while not self._has_ended:
            ready = [it for it in self._processes if it.device and it.num_running < self._max_lines]
            if not ready:
                return
            try:
                line = next(lines)
            except StopIteration:
                self._has_ended = True
                return
            if line is None:
                return
            if self._skipped.skips(line):
                continue
            if line.error is not None:
                self._finish(error_result(line, line.error))
            else:
                min(ready, key=lambda it: it.num_running).answer(line.number, line.fields)

    def _receive(self, process: DeviceProcess, message: Mapping[str, Any] | None) -> None:
        if message is None:
            if process in self._processes and (process.num_running or not self._has_ended):
                remedy = "Run the same command again to continue."
                self._fail(process, WorkerLost(process.rank, process.exit_reason(), remedy))
        elif "error" in message:
            self._fail(process, LitGPTError(message["error"]))
        elif "device" in message:
            process.device = message["device"]
            self._kind = self._kind or process.device
            if process.device != self._kind:
                kinds = f"{process.device} and {self._kind}"
                reason = f"there are fewer of one kind: {kinds} were found."
                error = HardwareUnavailable(f"devices={self._world}", reason)
                for each in list(self._processes):
                    self._fail(each, error)
        else:
            process.num_running -= 1
            self._tokens[process.rank] = message["counts"]
            for name in _TOKENS:
                setattr(self.counts, name, sum(it[name] for it in self._tokens.values()))
            self._finish(message["output"])

    def _finish(self, output: Mapping[str, Any]) -> None:
        self._write(output)
        if output.get("error") is None:
            self.counts.done += 1
        else:
            self.counts.errors += 1

    def _fail(self, process: DeviceProcess, error: LitGPTError) -> None:
        """Read no further lines; those of the other processes are answered."""
        process.kill()
        self._processes.remove(process)
        self._failure, self._has_ended = self._failure or error, True
