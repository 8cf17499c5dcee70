"""Ctrl-C that waits for the end of a step."""

import ctypes
import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import attrs


@attrs.define(eq=False)
class DeferredSigint:
    """A handler of SIGINT that defers to the handler before it, and waits for the end of a step.

    Attributes:
        previous_handler: The handler that it has replaced.
        users: How many blocks need it.
        steps: How many steps are in progress, one within the other.
        is_pending: Whether the signal came within a step.

    """

    previous_handler: Callable[[int, FrameType | None], Any] | int
    users: int = 0
    steps: int = 0
    is_pending: bool = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal, now or after the step."""
        if self.steps:
            self.is_pending = True
        elif callable(self.previous_handler):
            self.previous_handler(number, frame)
        else:
            signal.signal(signal.SIGINT, self.previous_handler)
            signal.raise_signal(signal.SIGINT)

    def deliver(self) -> None:
        """Handle what came within the step that ends here."""
        self.steps -= 1
        if self.is_pending and not self.steps:
            self.is_pending = False
            self(signal.SIGINT, inspect.currentframe())


@contextmanager
def defer_sigint_between_steps() -> Iterator[DeferredSigint | None]:
    """Exchange the handler of SIGINT once for all steps of the block, between which Ctrl-C acts as always.

    Nothing is exchanged, and None given, outside the main thread, where nothing is interrupted, and where
    SIGINT is ignored or its handler is not Python's (installed by C code, or by faulthandler).
    """
    before = signal.getsignal(signal.SIGINT)
    if not _is_main() or before is None or before == signal.SIG_IGN:
        yield None
        return
    handler = before if isinstance(before, DeferredSigint) else DeferredSigint(before)
    handler.users += 1
    handler.steps += 1  # Ctrl-C while the handler is exchanged waits until what is below would put it back
    try:
        is_in_place = handler is before or _install(handler)
        handler.deliver()
        yield handler if is_in_place else None
    finally:
        handler.users -= 1
        # A generation may be closed by the garbage collector in another thread: then the next one that ends
        # puts the handler back. One that was installed meanwhile is left.
        ours = _is_main() and signal.getsignal(signal.SIGINT) == handler
        if ours and not handler.users:
            signal.signal(signal.SIGINT, handler.previous_handler)


@contextmanager
def defer_sigint() -> Iterator[None]:
    """Let Ctrl-C have its effect when the block is done, and not within it."""
    with defer_sigint_between_steps() as handler:
        if handler is None:
            yield
            return
        handler.steps += 1
        try:
            yield
        finally:
            handler.deliver()


def _install(handler: DeferredSigint) -> bool:
    """Install a handler, unless C code has installed one that Python does not know, which stays."""
    before = _action()
    signal.signal(signal.SIGINT, handler)
    known = None if handler.previous_handler == signal.SIG_DFL else _handler_in(_action())
    if _handler_in(before) == known:
        return True
    signal.signal(signal.SIGINT, handler.previous_handler)
    ctypes.CDLL(None).sigaction(signal.SIGINT, before, None)
    return False


def _action() -> "ctypes.Array[ctypes.c_char]":
    """Return the system's `struct sigaction` for SIGINT, in more room than any system's takes."""
    action = ctypes.create_string_buffer(1024)
    ctypes.CDLL(None).sigaction(signal.SIGINT, None, action)
    return action


def _handler_in(action: "ctypes.Array[ctypes.c_char]") -> int | None:
    """Return the address of the function in a `struct sigaction`, which begins with it; None for SIG_DFL."""
    return ctypes.c_void_p.from_buffer(action).value


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
