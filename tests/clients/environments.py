"""The environments of the clients, each of its own in `.clients/`, with the versions of `requirements/`."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".clients"
HERE = Path(__file__).parent
NPM = HERE / "npm"


def python_of(name: str) -> Path:
    """Return the interpreter of a client's environment, which is made if its requirements have changed."""
    folder, requirements = HOME / name, HERE / "requirements" / f"{name}.txt"
    if not _is_made(folder, requirements):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
        # A freeze is complete, and the resolver takes minutes for some of these.
        subprocess.run([*pip, "install", "-qq", "--no-deps", "-r", str(requirements)], check=True)
        _mark(folder, requirements)
    return folder / "bin" / "python"


def npm_folder() -> Path:
    """Return a folder with the JavaScript programs and their packages, as the lock file has them."""
    folder, lock = HOME / "npm", NPM / "package-lock.json"
    if not _is_made(folder, lock):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(NPM / name, folder)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=folder, check=True)
        _mark(folder, lock)
    for program in NPM.glob("*.mjs"):
        shutil.copy(program, folder)
    return folder


def run_program(
    command: list[str], stdin: str, *, folder: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a program in a clean environment, without the settings of this one, and with no network beyond."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")}
    offline = {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "NO_PROXY": "*",
    }
    return subprocess.run(
        command,
        input=stdin,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**kept, **offline, **variables},
        timeout=600,
    )


def _is_made(folder: Path, versions: Path) -> bool:
    mark = folder / ".made"
    return mark.is_file() and mark.read_text(encoding="utf-8") == _hash(versions)


def _mark(folder: Path, versions: Path) -> None:
    (folder / ".made").write_text(_hash(versions), encoding="utf-8")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
