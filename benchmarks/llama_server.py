"""llama.cpp's server, compiled from the source of the version that `requirements-llama-cpp.txt` pins."""

import os
import shutil
import sys
import tarfile
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from environments import BENCH, CXXFLAGS, HERE, Unavailable, checked

OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",  # no page, and no download of one
)
"""Of CMake. As in the Python package, it is compiled for the instructions of this processor."""


def llama_server() -> Path:
    """Return the program `llama-server`, compiled with 2 jobs if it is not up to date, which takes minutes.

    Raises:
        Unavailable: CMake is missing, or the server could not be downloaded or compiled.
    """
    folder = BENCH / "llama-server"
    program = folder / ("llama-server.exe" if sys.platform == "win32" else "llama-server")
    stamp = folder / "made-from"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == made_from():
        return program
    if shutil.which("cmake") is None:
        raise Unavailable("llama-server is compiled with CMake, which is not installed")
    print("Compiling llama-server …", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with TemporaryDirectory() as temporary:
        built = _compile(Path(temporary))
        shutil.copy2(built / "bin" / program.name, program)
    stamp.write_text(made_from(), encoding="utf-8")
    return program


def made_from() -> str:
    """Return a hash of all that the program depends on."""
    source = (HERE / "requirements-llama-cpp.txt").read_bytes() + (HERE / "amx_tiles.h").read_bytes()
    return sha256(source + " ".join(OPTIONS).encode()).hexdigest()


def _compile(folder: Path) -> Path:
    """Return the build folder of CMake, in a folder for temporary files."""
    download = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps"]
    from_source = ["--no-binary", "llama-cpp-python", "-r", HERE / "requirements-llama-cpp.txt", "-d", folder]
    checked("downloading llama.cpp", [*download, *from_source])
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    source, build = next(folder.glob("*/vendor/llama.cpp")), folder / "build"
    environment = {**os.environ, "CXXFLAGS": f"{os.environ.get('CXXFLAGS', '')} {CXXFLAGS}"}
    checked("configuring llama-server", ["cmake", "-S", source, "-B", build, *OPTIONS], env=environment)
    target = ["--target", "llama-server", "--config", "Release", "--parallel", "2"]
    checked("compiling llama-server", ["cmake", "--build", build, *target])
    return build
