"""`python -m native_build.wheels` builds a wheel for each platform, with ziglang, and checks it."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from native_build.install import OBJECTS
from native_build.target import VARIABLE, WHEELS
from native_build.units import SOURCES
from native_build.wheel_check import problems

ROOT = SOURCES.parents[2]
_CONTENTS = ("pyproject.toml", "README.md", "LICENSE", "domain", "application", "adapters", "entrypoints")


class WheelFailed(Exception):
    """The wheel of a platform could not be built; the message is pip's output."""


def main() -> int:
    """Return 0 if the wheels of all platforms were built and are as their names say."""
    parser = argparse.ArgumentParser(prog="native_build.wheels", description=__doc__)
    parser.add_argument("tags", nargs="*", metavar="PLATFORM", help=f"of {', '.join(WHEELS)}; default: all")
    parser.add_argument("--into", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    if unknown := set(options.tags) - set(WHEELS):
        parser.error(f"unknown platform: {', '.join(sorted(unknown))}")
    if find_spec("ziglang") is None:
        sys.stderr.write("The wheels need the Python package ziglang.\n")
        return 1
    failed = False
    for tag in options.tags or WHEELS:
        try:
            wheel = build_wheel(tag, options.into)
        except WheelFailed as error:
            sys.stderr.write(f"{tag}: {error}\n")
            failed = True
            continue
        found = problems(wheel)
        failed = failed or bool(found)
        sys.stdout.write("".join(f"{wheel.name}: {text}\n" for text in found or ["built"]))
        sys.stdout.flush()
    return int(failed)


def build_wheel(tag: str, into: Path) -> Path:
    """Build the wheel of the platform `tag` in the folder `into`.

    It is built from a copy of the sources: setuptools would include what earlier builds left in `build`.

    Raises:
        WheelFailed: pip failed, or the native engine could not be compiled.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy, built = Path(folder, "litgpt"), Path(folder, "wheel")
        for name in _CONTENTS:
            source, target = ROOT / name, copy / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "_native*"))
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        OBJECTS.mkdir(parents=True, exist_ok=True)
        (copy / "build").mkdir()
        (copy / "build" / OBJECTS.name).symlink_to(OBJECTS)  # so that the next build is faster
        environment = {**os.environ, VARIABLE: tag}
        for name in ("CXX", "CXXFLAGS", "LITGPT_NATIVE"):
            environment.pop(name, None)
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
        run = subprocess.run(  # noqa: S603
            [*command, "--wheel-dir", built, copy],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        wheels = list(built.glob(f"*-{tag}.whl"))
        if run.returncode != 0 or len(wheels) != 1:
            raise WheelFailed(run.stdout + run.stderr)
        into.mkdir(parents=True, exist_ok=True)
        return Path(shutil.move(wheels[0], into / wheels[0].name))


if __name__ == "__main__":
    sys.exit(main())
