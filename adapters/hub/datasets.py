"""Data sets on the Hugging Face Hub, a file of one at a time."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import attrs

from litgpt.adapters.hub.cache import HubCache, Snapshot
from litgpt.adapters.hub.download import Download
from litgpt.adapters.hub.env import endpoint_name, from_cache_or_hub, resolve_cache_dir, resolve_endpoint
from litgpt.adapters.hub.repository import Repository
from litgpt.adapters.hub.store import REPOSITORY
from litgpt.application.files.free_space import free_bytes
from litgpt.domain.formatting.redaction import redact
from litgpt.domain.progress import Reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.training.errors import DataNotFound


@attrs.frozen
class HubDatasets:
    """Brings a file of a data set into the cache; what is there already is taken without asking.

    Attributes:
        endpoint: The address of the Hub; None is where huggingface_hub's environment points (HF_ENDPOINT).
        cache_dir: The cache; None is where that environment has it (HF_HUB_CACHE, HF_HOME).
        timeout: Seconds until a Hub that has not answered is taken for one that does not.
        stall_timeout: Seconds until a download from which no byte comes is given up.
        free_bytes: How much fits on the disk of a folder.

    """

    endpoint: str | None = attrs.field(default=None, repr=lambda url: redact(repr(url)))
    cache_dir: Path | None = None
    timeout: float = 5.0
    stall_timeout: float = 60.0
    free_bytes: Callable[[Path], int] = free_bytes

    def __call__(
        self,
        reference: ModelReference,
        patterns: Sequence[str],
        report: Reporter,
        *,
        download_dir: Path | None = None,
    ) -> Path:
        """Return the file of a data set that fits the first pattern that any fits.

        Args:
            reference: The repository, `org/name`.
            patterns: Names of files, as `fnmatch` reads them, the best first.
            report: Is told how far the download is.
            download_dir: A cache to use in place of the usual one.

        Raises:
            DataNotFound: The Hub has no such data set, or the data set no such file.
            AccessDenied: The Hub does not give it to us.
            HubUnreachable: It is not in the cache, and the Hub does not answer or may not be asked.
            UnsupportedOperation: The disk is too full.

        """
        repository = self._repository(reference, download_dir)
        cached = repository.cache.at_revision(repository.path, repository.revision)
        kept = None if cached is None else _select_file(_files(cached), patterns)
        there = (lambda: cached.folder / kept) if cached is not None and kept is not None else None
        return from_cache_or_hub(reference, there, partial(self._fetch, repository, patterns, report))

    def _fetch(self, repository: Repository, patterns: Sequence[str], report: Reporter) -> Path:
        found = repository.list_files()
        file = _select_file(found.files, patterns)
        if file is None:
            there = ", ".join(found.files[:10]) or "nothing"
            raise DataNotFound(
                repository.reference.name,
                searched=(repository.hub,),
                hint=f"The repository has no file {' or '.join(patterns)}, but {there}.",
            )
        sizes = {file: repository.file_size(found.commit, file)}
        Download(repository, found.commit, sizes, self.free_bytes).run(report)
        return repository.cache.at_commit(repository.path, found.commit).folder / file

    def _repository(self, reference: ModelReference, download_dir: Path | None) -> Repository:
        where = resolve_endpoint(self.endpoint)
        if not REPOSITORY.fullmatch(reference.name):
            hint = "A data set is called org/name."
            raise DataNotFound(reference.name, searched=(endpoint_name(where),), hint=hint)
        cache = HubCache(resolve_cache_dir(download_dir or self.cache_dir), "dataset")
        return Repository(reference, reference.name, where, cache, self.timeout, self.stall_timeout)


def _files(snapshot: Snapshot) -> list[str]:
    paths = (path for path in snapshot.folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(snapshot.folder).as_posix() for path in paths)


def _select_file(files: Sequence[str], patterns: Sequence[str]) -> str | None:
    """Return the first file that fits the first pattern that any fits."""
    return next((file for pattern in patterns for file in files if fnmatchcase(file, pattern)), None)
