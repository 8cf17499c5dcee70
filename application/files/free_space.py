"""The free space of the disk that a folder is on."""

import shutil
from pathlib import Path


def free_bytes(folder: Path) -> int:
    """Return the bytes that are free on the disk that a folder is on, or will be once it exists."""
    existing = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(existing).free
