"""An end to waiting, whatever is waited for."""

from collections.abc import Callable
from concurrent.futures import Future
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


def attended(
    seconds: float, sign_of_life: Event, work: Callable[[], T], is_moving: Callable[[], bool] = lambda: False
) -> T:
    """Return what a piece of work returns, unless it shows no sign of life for so long.

    It is left alone then, in a thread of its own: what else this process is doing is not touched.

    Args:
        seconds: How long without a sign is too long.
        sign_of_life: Is set whenever the work moves on, and cleared here.
        work: The work.
        is_moving: Asked when there was no sign: whether it may be waiting for something that does move on.

    Raises:
        TimeoutError: There was no sign of life.

    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
            answer.set_exception(error)
        sign_of_life.set()

    Thread(target=run, daemon=True).start()
    while not answer.done():
        if sign_of_life.wait(seconds):
            sign_of_life.clear()
        elif not is_moving():
            raise TimeoutError
    return answer.result()
