"""Collect garbage less often while a model is loaded."""

import gc
import threading
from contextlib import ContextDecorator

import attrs

OBJECTS = 100_000
"""Objects that are created before the next collection; Python's default is a few hundred or thousand.

Loading a model creates fewer, and keeps them: collections take a twentieth of the time and find nothing. They
are not disabled, because other threads may create garbage during a download.
"""


@attrs.define(eq=False)
class RareGarbageCollection(ContextDecorator):
    """Raises the threshold of the collector, and restores it after the last of concurrent uses."""

    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _uses: int = 0
    _usual: tuple[int, int, int] = (0, 0, 0)

    def __enter__(self) -> None:
        with self._lock:
            if not self._uses and 0 < gc.get_threshold()[0] < OBJECTS:  # 0: collection is disabled
                self._usual = gc.get_threshold()
                gc.set_threshold(OBJECTS, *self._usual[1:])
            self._uses += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._uses -= 1
            if not self._uses and gc.get_threshold()[0] == OBJECTS:
                gc.set_threshold(*self._usual)


rare_garbage_collection = RareGarbageCollection()
