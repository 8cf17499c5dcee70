"""Bringing the weights of a model from the Hub into the cache."""

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from litgpt.adapters.hub.disk_errors import translate_disk_errors
from litgpt.adapters.hub.progress import DownloadProgress
from litgpt.adapters.hub.repository import Repository
from litgpt.domain.errors import InsufficientSpace
from litgpt.domain.progress import Reporter


@attrs.frozen
class Download:
    """The weights that are still on the Hub.

    Attributes:
        repository: Where they are.
        commit: Of which commit.
        sizes: The files and their bytes.
        free_bytes: How much fits on the disk of a folder.

    """

    repository: Repository
    commit: str
    sizes: Mapping[str, int]
    free_bytes: Callable[[Path], int]

    def run(self, report: Reporter) -> None:
        """Bring them, one file after another. Those that are complete stay, whatever happens to the others.

        Raises:
            UnsupportedOperation: The disk is too full for all of them, or the cache cannot be written to.
            HubUnreachable: The Hub does not answer any more.

        """
        repository = self.repository
        self._check_free_space()
        meter = DownloadProgress(f"Downloading {repository.path}", sum(self.sizes.values()), report)
        for file, size in self.sizes.items():
            repository.download(self.commit, file, meter, size=size)
            meter.complete_file(size)
        repository.cache.write_ref(repository.path, repository.revision, self.commit)

    def _check_free_space(self) -> None:
        folder, needed = self.repository.cache.folder, sum(self.sizes.values())
        with translate_disk_errors(f"Downloading {self.repository.path}", folder):
            free = self.free_bytes(folder)
        if needed > free:
            raise InsufficientSpace(
                f"Downloading {self.repository.path}",
                f"it takes {needed / 1e9:.2f} GB, and where {folder} is only {free / 1e9:.2f} GB are free. "
                "Make room, or set HF_HOME to a folder on another disk.",
            )
