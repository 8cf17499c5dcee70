"""Interrupt a call before any of its file system operations, by a kill or by a full disk.

Python's audit hooks announce each operation. (`os.fsync` has no event, and changes no state.) The call runs
in a child process, because hooks cannot be removed.
"""

import errno
import os
import sys
import traceback
from collections.abc import Callable

STEPS = {
    "open",
    *(
        f"os.{name}"
        for name in ("rename", "mkdir", "remove", "rmdir", "link", "symlink", "chmod", "truncate")
    ),
}
KILLED, FAILED = 77, 78


def steps_of(call: Callable[[], object]) -> int:
    """Return the number of steps of a call."""
    reader, writer = os.pipe()

    def counted() -> None:
        taken = _hooked(lambda _: None)
        call()
        os.write(writer, str(taken[0]).encode())

    assert _in_child(counted) == 0
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        return int(file.read())


def killed_at(step: int, call: Callable[[], object]) -> bool:
    """Run a call in a process that exits before its n-th step; return whether it got that far."""

    def killed() -> None:
        _hooked(lambda taken: os._exit(KILLED) if taken == step else None)
        call()

    code = _in_child(killed)
    assert code in (KILLED, 0)
    return code == KILLED


def failing_at(step: int, call: Callable[[], object], error: int = errno.ENOSPC) -> bool:
    """Run a call whose n-th step fails, and return whether the call raised."""

    def fail(taken: int) -> None:
        if taken == step:
            raise OSError(error, os.strerror(error))

    def failing() -> None:
        _hooked(fail)
        try:
            call()
        except Exception:  # noqa: BLE001 - which one is not the question here
            os._exit(FAILED)

    code = _in_child(failing)
    assert code in (FAILED, 0)
    return code == FAILED


def paused_at(step: int, call: Callable[[], object], meanwhile: Callable[[], object]) -> int:
    """Run a call in another process, and a second one here before its n-th step; return the exit code."""
    (paused, pauses), (goes_on, go) = os.pipe(), os.pipe()

    def pause(taken: int) -> None:
        if taken == step:
            os.write(pauses, b".")
            os.read(goes_on, 1)

    def pausing() -> None:
        _hooked(pause)
        call()
        os.write(pauses, b".")  # a call with fewer steps is over

    child = _forked(pausing)
    os.close(pauses)
    os.read(paused, 1)
    try:
        meanwhile()
    finally:
        os.write(go, b".")
        for value in (paused, goes_on, go):
            os.close(value)
    return _ended(child)


def _hooked(at_step: Callable[[int], None]) -> list[int]:
    taken = [0]

    def hook(event: str, _: object) -> None:
        if event in STEPS:
            taken[0] += 1
            at_step(taken[0])

    sys.addaudithook(hook)
    return taken


def _in_child(call: Callable[[], None]) -> int:
    return _ended(_forked(call))


def _forked(call: Callable[[], None]) -> int:
    child = os.fork()
    if not child:
        try:
            call()
        except BaseException:  # noqa: BLE001 - a child must not go on with the tests
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def _ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
