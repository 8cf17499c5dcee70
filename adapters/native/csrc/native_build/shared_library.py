"""Compiles the units in parallel and links them. Only what changed is compiled again."""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from native_build.compiler import Compiler
from native_build.target import TARGET
from native_build.units import LIBRARY_FOLDER, SOURCES, Unit, headers, units, user_flags


class BuildFailed(Exception):
    """The library cannot be built. The first line is a sentence; the compiler's output may follow."""


def build(into: Path, compiler: Compiler, objects: Path, *, testing: bool = False) -> Path:
    """Build the library in the folder `into`, unless it is there and current, and return its path.

    `objects` is a folder for object files, which the next build reuses. `testing` is that of `units`.
    """
    into.mkdir(parents=True, exist_ok=True)
    todo = list(units(compiler, testing=testing))
    todo.sort(key=lambda unit: "kernels" not in unit.source.parts)  # the largest first
    if not todo:
        raise BuildFailed(f"{SOURCES} does not contain the sources.")
    shared = _digest([compiler.version, *(header.read_bytes() for header in headers())])
    digests = [_digest([shared, *unit.flags, unit.source.read_bytes()]) for unit in todo]
    whole = _digest(digests)
    library = into / TARGET.file_name
    if _is_current(library, whole):
        return library
    if _is_current(built := LIBRARY_FOLDER / TARGET.file_name, whole):  # by an editable installation
        shutil.copy2(built, library)
        return library
    objects.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        compiled = list(
            threads.map(lambda unit, digest: _compile(compiler, unit, digest, objects), todo, digests)
        )
    mark = objects / f"mark-{whole}.cpp"
    mark.write_text(
        'extern "C" const char litgpt_build[] __attribute__((visibility("default")));\n'
        f'const char litgpt_build[] = "{_mark(whole).decode()}";\n',
        encoding="utf-8",
    )
    compiled.append(_compile(compiler, Unit(mark, todo[0].flags), whole, objects))
    # Another process may have the library open, or build it too: replaced at once, and never written to. For
    # Windows, linkers write more files beside it, which stay behind.
    with tempfile.TemporaryDirectory(dir=into, prefix="_native-", suffix=".tmp") as folder:
        linked = Path(folder, TARGET.file_name)
        _check(compiler, ["-shared", *TARGET.link_flags, *user_flags(), *compiled, "-pthread", "-o", linked])
        linked.chmod(0o755)
        linked.replace(library)
    return library


def _is_current(library: Path, digest: str) -> bool:
    return library.exists() and _mark(digest) in library.read_bytes()


def _compile(compiler: Compiler, unit: Unit, digest: str, objects: Path) -> Path:
    result = objects / f"{unit.source.stem.partition('-')[0]}-{digest}.o"
    if not result.exists():
        unfinished = result.with_suffix(f".{os.getpid()}.tmp")
        _check(compiler, [*unit.flags, f"-I{SOURCES}", "-c", unit.source, "-o", unfinished])
        unfinished.replace(result)
    return result


def _check(compiler: Compiler, arguments: Sequence[str | Path]) -> None:
    run = compiler.run(arguments)
    if run.returncode != 0:
        command = " ".join(map(str, [*compiler.command, *arguments]))
        raise BuildFailed(
            f"The C++ compiler {compiler.command[0]} failed.\n{command}\n{run.stdout}{run.stderr}"
        )
    if run.stderr.strip():
        sys.stderr.write(run.stderr)


def _digest(parts: Iterable[str | bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        whole.update(len(content).to_bytes(8, "little"))
        whole.update(content)
    return whole.hexdigest()[:32]


def _mark(digest: str) -> bytes:
    return f"litgpt-native-build:{digest}".encode()
