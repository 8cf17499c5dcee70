"""Iterate in a thread for asyncio."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import TypeVar

import attrs

ItemT = TypeVar("ItemT")


@attrs.frozen
class _End:
    """The end of an iteration, and the error that it ended with."""

    error: BaseException | None


async def iterate_in_thread(items: Iterator[ItemT], cancel: Callable[[], object]) -> AsyncIterator[ItemT]:
    """Yield the items of a blocking iterator, which a thread of its own reads.

    `cancel` is called when the iteration ends, also because its task was cancelled. It must be callable
    during `next(items)`, and make it return soon.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[ItemT | _End] = asyncio.Queue()

    def put(item: ItemT | _End) -> None:
        with suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def read() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                put(item)
        except BaseException as raised:  # noqa: BLE001 - raised where the items are awaited
            error = raised
        put(_End(error))

    threading.Thread(target=read, daemon=True, name="litgpt-stream").start()
    try:
        while not isinstance(item := await queue.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        cancel()
