"""A virtual environment for each peer, in `.bench/`, made once and again when its requirements change."""

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BENCH = ROOT / ".bench"


def python_of(peer: str, *pip_options: str) -> Path:
    """Return the Python of a peer's environment, having made the environment if it is not up to date.

    Args:
        peer: Its requirements are in `requirements-<peer>.txt`.
        pip_options: Further options of `pip install`.

    Raises:
        subprocess.CalledProcessError: It could not be installed; pip has said why.
    """
    folder = BENCH / peer
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    requirements = HERE / f"requirements-{peer}.txt"
    wanted = sha256(requirements.read_bytes() + (ROOT / "constraints.txt").read_bytes()).hexdigest()
    stamp = folder / "made-from"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"Installing {peer} in {folder.relative_to(ROOT)} …", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    install = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*install, *pip_options, "-r", str(requirements)], check=True)
    stamp.write_text(wanted, encoding="utf-8")
    return python
