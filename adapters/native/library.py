"""The shared library `_native`, loaded when it is first used."""

import ctypes
import sys
from functools import cache
from pathlib import Path

from litgpt.adapters.native.structures import API_VERSION, SIGNATURES
from litgpt.adapters.native.threads import thread_count
from litgpt.domain.errors import InsufficientSpace, UnsupportedOperation

_SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
LIBRARY = Path(__file__).parent / "lib" / f"_native{_SUFFIX}"
ENGINE = "The native engine"
_REMEDY = (
    "Install litgpt again, with a C++ compiler (on Debian and Ubuntu: apt install g++) or the Python package "
    "ziglang. Or use engine='torch'."
)


def is_installed() -> bool:
    """Whether the library was built when litgpt was installed; it is not loaded."""
    return LIBRARY.exists()


def _why_missing() -> str:
    """Return the reason that the build left in place of the library."""
    try:
        reason = LIBRARY.with_suffix(".missing").read_text(encoding="utf-8").strip()
    except OSError:
        reason = ""
    return f"its library was not built when litgpt was installed. {reason}".rstrip()


@cache
def load_library() -> ctypes.CDLL:
    """Return the library, with the types of its functions declared and its number of threads set.

    Raises:
        UnsupportedOperation: The library is missing, cannot be loaded, or is of another version of litgpt.
    """
    if not is_installed():
        raise UnsupportedOperation(ENGINE, f"{_why_missing()} {_REMEDY}")
    try:
        library = ctypes.CDLL(str(LIBRARY))
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise UnsupportedOperation(ENGINE, f"{LIBRARY} cannot be loaded: {error}. {_REMEDY}") from error
    if (version := library.litgpt_api_version()) != API_VERSION:
        reason = f"{LIBRARY} has interface version {version}, but {API_VERSION} is needed. {_REMEDY}"
        raise UnsupportedOperation(ENGINE, reason)
    check(library.litgpt_set_threads(thread_count()), "Starting the native engine", library)
    return library


def instruction_set() -> str:
    """Return the name of the instruction set that was selected for this processor, such as `avx2`."""
    return str(load_library().litgpt_instruction_set().decode())


def check(status: int, requested: str, library: ctypes.CDLL | None = None) -> int:
    """Return the result of a function of the library, unless it is negative.

    Raises:
        InsufficientSpace: Memory could not be allocated.
        UnsupportedOperation: Any other error; the reason is the library's message.
    """
    if status >= 0:
        return status
    message = ((library or load_library()).litgpt_last_error() or b"").decode(errors="replace")
    kind = InsufficientSpace if message.startswith("Out of memory") else UnsupportedOperation
    raise kind(requested, message)
