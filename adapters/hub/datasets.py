"""Download single files of data sets on the Hugging Face Hub."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import attrs

from litgpt.adapters.hub.cache import HubCache, Snapshot
from litgpt.adapters.hub.download import download_files
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
    """Downloads a file of a data set, unless the cache has it.

    Attributes:
        endpoint: The URL of the Hub; None uses HF_ENDPOINT.
        cache_dir: The cache folder; None uses HF_HUB_CACHE or HF_HOME.
        timeout: The timeout of requests, in seconds.
        stall_timeout: The timeout of a download that receives no bytes, in seconds.
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
        """Return the first file of a data set that matches one of the `fnmatch` patterns, in their order.

        Args:
            reference: The repository, `org/name`.
            patterns: Patterns in order of preference.
            report: Receives the progress of the download.
            download_dir: A cache folder to use in place of `cache_dir`.

        Raises:
            DataNotFound: The data set does not exist, or no file matches.
            AccessDenied: The Hub denied access.
            HubUnreachable: The file is not cached, and the Hub does not respond or offline mode is on.
            InsufficientSpace: There is not enough disk space.
        """
        repository = self._repository(reference, download_dir)
        cached = repository.cache.at_revision(repository.path, repository.revision)
        file = None if cached is None else _select_file(_files(cached), patterns)
        read_cached = (lambda: cached.folder / file) if cached is not None and file is not None else None
        return from_cache_or_hub(reference, read_cached, partial(self._fetch, repository, patterns, report))

    def _fetch(self, repository: Repository, patterns: Sequence[str], report: Reporter) -> Path:
        info = repository.list_files()
        file = _select_file(info.files, patterns)
        if file is None:
            names = ", ".join(info.files[:10]) or "no files"
            raise DataNotFound(
                repository.reference.name,
                searched=(repository.hub,),
                hint=f"The repository has no file {' or '.join(patterns)}; it has {names}.",
            )
        sizes = {file: repository.file_size(info.commit, file)}
        download_files(repository, info.commit, sizes, self.free_bytes, report)
        return repository.cache.at_commit(repository.path, info.commit).folder / file

    def _repository(self, reference: ModelReference, download_dir: Path | None) -> Repository:
        endpoint = resolve_endpoint(self.endpoint)
        if not REPOSITORY.fullmatch(reference.name):
            hint = "The name of a data set has the form org/name."
            raise DataNotFound(reference.name, searched=(endpoint_name(endpoint),), hint=hint)
        cache = HubCache(resolve_cache_dir(download_dir or self.cache_dir), "dataset")
        return Repository(reference, reference.name, endpoint, cache, self.timeout, self.stall_timeout)


def _files(snapshot: Snapshot) -> list[str]:
    paths = (path for path in snapshot.folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(snapshot.folder).as_posix() for path in paths)


def _select_file(files: Sequence[str], patterns: Sequence[str]) -> str | None:
    return next((file for pattern in patterns for file in files if fnmatchcase(file, pattern)), None)
