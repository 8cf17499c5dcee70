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
    """Return the result of a call, which must make progress within `seconds`; otherwise raise TimeoutError.

    HTTP timeouts restart with each packet and exclude the host lookup, so they do not bound the duration of a
    request. After the timeout, the call continues in its daemon thread until its own timeouts end it.

    The call sets `progressed`, which is cleared here; `is_progressing` returns whether it waits for other
    progress.
    """
    result: Future[T] = Future()
    event = Event() if progressed is None else progressed

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised by result()
            result.set_exception(error)
        event.set()

    Thread(target=run, daemon=True).start()
    while not result.done():
        if event.wait(seconds):
            event.clear()
        elif not is_progressing():
            raise TimeoutError
    return result.result()
