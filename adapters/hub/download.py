"""Download files of a repository into the cache."""

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from litgpt.adapters.hub.errors import translate_disk_errors
from litgpt.adapters.hub.progress import DownloadProgress
from litgpt.adapters.hub.repository import Repository
from litgpt.domain.errors import InsufficientSpace
from litgpt.domain.progress import Reporter


@attrs.frozen
class Download:
    """A pending download of files, given the size of each in bytes."""

    repository: Repository
    commit: str
    sizes: Mapping[str, int]
    free_bytes: Callable[[Path], int]

    def run(self, report: Reporter) -> None:
        """Download the files one after another; complete files stay in the cache after an error."""
        repository = self.repository
        self._check_free_space()
        progress = DownloadProgress(f"Downloading {repository.path}", sum(self.sizes.values()), report)
        for file, size in self.sizes.items():
            repository.download(self.commit, file, progress, size=size)
            progress.complete_file(size)
        repository.cache.write_ref(repository.path, repository.revision, self.commit)

    def _check_free_space(self) -> None:
        folder, needed = self.repository.cache.folder, sum(self.sizes.values())
        with translate_disk_errors(f"Downloading {self.repository.path}", folder):
            free = self.free_bytes(folder)
        if needed > free:
            raise InsufficientSpace(
                f"Downloading {self.repository.path}",
                f"it takes {needed / 1e9:.2f} GB, but the disk of {folder} has only {free / 1e9:.2f} GB "
                "free. Free disk space, or set HF_HOME to a folder on another disk.",
            )
