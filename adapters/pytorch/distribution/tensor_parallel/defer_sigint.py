"""Defer Ctrl-C (SIGINT) to the end of a step."""

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
    """A SIGINT handler that calls the previous handler, after the current step if there is one.

    `users` blocks use it, and `steps` nested steps are in progress.
    """

    previous_handler: Callable[[int, FrameType | None], Any] | int
    users: int = 0
    steps: int = 0
    is_pending: bool = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.steps:
            self.is_pending = True
        elif callable(self.previous_handler):
            self.previous_handler(number, frame)
        else:
            signal.signal(signal.SIGINT, self.previous_handler)
            signal.raise_signal(signal.SIGINT)

    def deliver(self) -> None:
        """End a step, and handle a pending signal after the outermost one."""
        self.steps -= 1
        if self.is_pending and not self.steps:
            self.is_pending = False
            self(signal.SIGINT, inspect.currentframe())


@contextmanager
def defer_sigint_between_steps() -> Iterator[DeferredSigint | None]:
    """Install the deferring handler for all steps of a block; between steps, Ctrl-C acts as before.

    Yields None without a change outside the main thread, if SIGINT is ignored, and if its handler is not a
    Python handler (installed by C code or faulthandler).
    """
    before = signal.getsignal(signal.SIGINT)
    if not _is_main() or before is None or before == signal.SIG_IGN:
        yield None
        return
    handler = before if isinstance(before, DeferredSigint) else DeferredSigint(before)
    handler.users += 1
    handler.steps += 1  # defers Ctrl-C until the `finally` block can restore the handler
    try:
        is_in_place = handler is before or _install(handler)
        handler.deliver()
        yield handler if is_in_place else None
    finally:
        handler.users -= 1
        # The garbage collector may close a generation in another thread; the next one to end then restores
        # the handler. A handler that was installed in the meantime stays.
        is_current = _is_main() and signal.getsignal(signal.SIGINT) == handler
        if is_current and not handler.users:
            signal.signal(signal.SIGINT, handler.previous_handler)


@contextmanager
def defer_sigint() -> Iterator[None]:
    """Defer Ctrl-C to the end of the block."""
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
    """Install a handler, unless C code has installed one that is unknown to Python; return whether it is."""
    before = _action()
    signal.signal(signal.SIGINT, handler)
    known = None if handler.previous_handler == signal.SIG_DFL else _handler_in(_action())
    if _handler_in(before) == known:
        return True
    signal.signal(signal.SIGINT, handler.previous_handler)
    ctypes.CDLL(None).sigaction(signal.SIGINT, before, None)
    return False


def _action() -> "ctypes.Array[ctypes.c_char]":
    """Return the `struct sigaction` for SIGINT, in a buffer larger than any system's struct."""
    action = ctypes.create_string_buffer(1024)
    ctypes.CDLL(None).sigaction(signal.SIGINT, None, action)
    return action


def _handler_in(action: "ctypes.Array[ctypes.c_char]") -> int | None:
    """Return the handler address, the first field of a `struct sigaction`; None for SIG_DFL."""
    return ctypes.c_void_p.from_buffer(action).value


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
