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
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        # Only set a flag: the interrupted code may hold a lock.
        self.is_requested = True
        self._restore()

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler or signal.SIG_DFL)
