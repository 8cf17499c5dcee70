"""Ctrl-C that waits for the end of a step."""

import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import attrs


@attrs.define(eq=False)
class Deferring:
    """A handler of SIGINT that defers to the handler before it, and waits for the end of a step.

    Attributes:
        before: The handler that it has replaced.
        users: How many blocks need it.
        steps: How many steps are in progress, one within the other.
        came: Whether the signal came within a step.

    """

    before: Callable[[int, FrameType | None], Any] | int
    users: int = 0
    steps: int = 0
    came: bool = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal, now or after the step."""
        if self.steps:
            self.came = True
        elif callable(self.before):
            self.before(number, frame)
        else:
            signal.signal(signal.SIGINT, self.before)
            signal.raise_signal(signal.SIGINT)

    def finish(self) -> None:
        """Handle what came within the step that ends here."""
        self.steps -= 1
        if self.came and not self.steps:
            self.came = False
            self(signal.SIGINT, inspect.currentframe())


@contextmanager
def deferring() -> Iterator[Deferring | None]:
    """Exchange the handler of SIGINT once for all steps of the block, between which Ctrl-C acts as always.

    Nothing is exchanged, and None given, outside the main thread, where nothing is interrupted, and where
    SIGINT is ignored or its handler is not Python's, which nothing could put back.
    """
    before = signal.getsignal(signal.SIGINT)
    if not _is_main() or before is None or before == signal.SIG_IGN:
        yield None
        return
    if isinstance(before, Deferring):
        handler = before
    else:
        handler = Deferring(before)
        signal.signal(signal.SIGINT, handler)
    handler.users += 1
    try:
        yield handler
    finally:
        handler.users -= 1
        # A generation may be closed by the garbage collector in another thread: then the next one that ends
        # puts the handler back. One that was installed meanwhile is left.
        ours = _is_main() and signal.getsignal(signal.SIGINT) == handler
        if ours and not handler.users:
            signal.signal(signal.SIGINT, handler.before)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C have its effect when the block is done, and not within it."""
    with deferring() as handler:
        if handler is None:
            yield
            return
        handler.steps += 1
        try:
            yield
        finally:
            handler.finish()


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
