"""SIGINT and SIGTERM during a batch: finish what runs, and start nothing new."""

import signal
import threading
from types import FrameType
from typing import Any, Self


class DrainOnSignal:
    """Requests within the block that a run ends early; a second signal ends it at once.

    Attributes:
        is_requested: Whether a signal was received.
        has_left_lines: Whether lines of the input were left out because of it.
    """

    def __init__(self) -> None:
        self.is_requested = self.has_left_lines = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal) or signal.SIG_DFL
        return self

    def __exit__(self, *_: object) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        # Only set a flag: the interrupted code may hold a lock.
        self.is_requested = True
        for number, handler in self._before.items():
            signal.signal(number, _exit if handler == signal.SIG_DFL else handler)


def _exit(number: int, _frame: FrameType | None) -> None:
    # The default action would leave out the ends of `with` blocks, which end other processes.
    raise SystemExit(128 + number)
