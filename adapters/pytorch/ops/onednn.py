"""Thread-safe use of torch's oneDNN switch, which is global to the process."""

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class OneDnnSwitch:
    """A fair lock on the oneDNN setting, shared by threads that need the same setting.

    The two kernels round differently. Without the lock, results would depend on other threads.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._blocks = 0
        self._is_off = False  # switched off here, and not by the user
        self._here = threading.local()

    @contextmanager
    def set_to(self, *, on: bool) -> Iterator[None]:
        """Run the block with oneDNN on or off; if the user has switched it off, it stays off.

        A nested block of the same thread keeps the setting of the outer one, to avoid a deadlock.
        """
        if getattr(self._here, "is_within", False):
            yield
            return
        turn, entered = object(), False
        try:
            self._here.is_within = True
            with self._changed:
                self._waiting.append(turn)
                self._changed.wait_for(lambda: self._may_enter(turn, on=on))
                if not self._blocks and not on and _enabled():
                    self._is_off = True
                    _enable(on=False)
                self._blocks, entered = self._blocks + 1, True
                self._leave_queue(turn)
            yield
        finally:
            self._here.is_within = False
            with self._changed:
                self._blocks -= entered
                if self._is_off and not self._blocks:
                    self._is_off = False
                    _enable(on=True)
                self._leave_queue(turn)

    def _may_enter(self, turn: object, *, on: bool) -> bool:
        agrees = not self._blocks or on != self._is_off or not (_enabled() or self._is_off)
        return agrees and self._waiting[0] is turn

    def _leave_queue(self, turn: object) -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)
        self._changed.notify_all()


def _enabled() -> bool:
    return bool(getattr(torch.backends.mkldnn, "enabled"))  # noqa: B009 - torch types it as its descriptor


def _enable(*, on: bool) -> None:
    setattr(torch.backends.mkldnn, "enabled", on)  # noqa: B010 - as above


onednn_switch = OneDnnSwitch()
"""The switch of this process."""


def _after_fork() -> None:
    """Reset the switch in a forked process, where the blocks of the parent's other threads never end."""
    if onednn_switch._is_off:  # noqa: SLF001 - same module
        _enable(on=True)
    onednn_switch.__init__()  # type: ignore[misc] # other modules have imported this object


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
