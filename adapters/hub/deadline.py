"""An end to waiting, whatever is waited for."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, ask: Callable[[], T]) -> T:
    """Return what `ask` returns, or stop waiting for it.

    The time-outs of a request begin anew with each packet and do not cover looking up a host's address, so
    they do not bound how long it takes. This does; the request is then left to end by its own time-outs.

    Raises:
        TimeoutError: It took longer.

    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
            answer.set_exception(error)

    Thread(target=run, daemon=True).start()
    return answer.result(timeout=seconds)


@contextmanager
def watched(seconds: float, sign_of_life: Event, when_dead: Callable[[], None]) -> Iterator[None]:
    """Do something about a piece of work that shows no sign of life for so long.

    Args:
        seconds: How long without a sign is too long.
        sign_of_life: Is set whenever the work moves on, and cleared here.
        when_dead: Is called from another thread, once.

    """
    over = False

    def watch() -> None:
        while sign_of_life.wait(seconds):
            sign_of_life.clear()
            if over:  # asked after clearing, so that the last sign is never cleared unseen
                return
        when_dead()

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over = True
        sign_of_life.set()
        watcher.join()
