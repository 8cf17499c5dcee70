"""Run a blocking call under an overall timeout."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")


def call_with_timeout(
    seconds: float,
    call: Callable[[], T],
    progressed: Event | None = None,
    is_progressing: Callable[[], bool] = lambda: False,
) -> T:
    """Return what a call returns, unless it makes no progress for so long.

    The timeouts of an HTTP request start again with each packet and do not cover the lookup of a host, so
    they do not bound how long it takes. After the timeout the call is left alone in its thread, where its
    own timeouts end it; other work of the process, such as another download, is not touched.

    Args:
        seconds: The timeout.
        call: The call.
        progressed: Is set by the call whenever it makes progress, and cleared here.
        is_progressing: Is asked after the timeout whether the call waits for something that makes progress.

    Raises:
        TimeoutError: It made no progress.

    """
    result: Future[T] = Future()
    woken = Event() if progressed is None else progressed

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is waited for
            result.set_exception(error)
        woken.set()

    Thread(target=run, daemon=True).start()
    while not result.done():
        if woken.wait(seconds):
            woken.clear()
        elif not is_progressing():
            raise TimeoutError
    return result.result()
