"""The control groups of this process (https://docs.kernel.org/admin-guide/cgroup-v2.html)."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def control_groups(controller: str, root: Path) -> Iterator[tuple[int, Path]]:
    """Yield the version and the folder of each group of the process and its parents, for a controller.

    `/proc/self/cgroup` has a line `0::/path` for version 2, and `4:memory:/path` for version 1. Both may be
    mounted. In a container whose own group is mounted at the top, the path may not exist. `root` contains
    `/proc` and `/sys`.
    """
    mounts = root / "sys/fs/cgroup"
    paths = {"": PurePosixPath("/"), controller: PurePosixPath("/")}
    for line in read_text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number == "0" and not controllers:
            paths[""] = PurePosixPath("/", path)
        elif controller in controllers.split(","):
            paths[controller] = PurePosixPath("/", path)
    for mount in (mounts, mounts / "unified"):
        for folder in _with_parents(mount, paths[""]):
            yield 2, folder
    for folder in _with_parents(mounts / controller, paths[controller]):
        yield 1, folder


def read_text(path: Path) -> str:
    """Return the contents of a file; an empty string if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""


def _with_parents(mount: Path, path: PurePosixPath) -> Iterator[Path]:
    """Yield the folders of a group and of its parents; if it is outside the namespace, only the mount."""
    if ".." not in path.parts:
        for group in (path, *path.parents):
            yield mount / group.relative_to("/")
    else:
        yield mount
