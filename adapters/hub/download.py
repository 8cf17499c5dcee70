"""Download files of a repository into the cache."""

from collections.abc import Callable, Mapping
from pathlib import Path

from litgpt.adapters.hub.errors import translate_disk_errors
from litgpt.adapters.hub.progress import DownloadProgress
from litgpt.adapters.hub.repository import Repository
from litgpt.domain.errors import InsufficientSpace
from litgpt.domain.progress import Reporter


def download_files(
    repository: Repository,
    commit: str,
    sizes: Mapping[str, int],
    free_bytes: Callable[[Path], int],
    report: Reporter,
) -> None:
    """Download files one after another, given the size of each in bytes.

    Complete files stay in the cache after an error.
    """
    operation, needed, folder = f"Downloading {repository.path}", sum(sizes.values()), repository.cache.folder
    with translate_disk_errors(operation, folder):
        free = free_bytes(folder)
    if needed > free:
        reason = (
            f"it takes {needed / 1e9:.2f} GB, but the disk of {folder} has only {free / 1e9:.2f} GB free. "
            "Free disk space, or set HF_HOME to a folder on another disk."
        )
        raise InsufficientSpace(operation, reason)
    progress = DownloadProgress(operation, needed, report)
    for file, size in sizes.items():
        repository.download(commit, file, progress, size=size)
        progress.complete_file(size)
    repository.cache.write_ref(repository.path, repository.revision, commit)
