"""Models on the Hugging Face Hub, and in the cache that everything built on it shares."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import attrs

from litgpt.adapters.hub.cache import HubCache, Snapshot
from litgpt.adapters.hub.checkpoint import HubCheckpoint
from litgpt.adapters.hub.download import Download
from litgpt.adapters.hub.env import endpoint_name, from_cache_or_hub, resolve_cache_dir, resolve_endpoint
from litgpt.adapters.hub.file_filter import (
    ADAPTER_FILES,
    INDEX_FILE,
    check_files,
    non_weight_files,
    tokenizer_files,
    weight_files,
)
from litgpt.adapters.hub.repository import Repository
from litgpt.application.files.free_space import free_bytes
from litgpt.domain import catalogue
from litgpt.domain.errors import HubUnreachable, MissingFile, ModelNotFound
from litgpt.domain.formatting.redaction import redact
from litgpt.domain.ports import Checkpoint
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerFiles

TensorT = TypeVar("TensorT")
TensorT_co = TypeVar("TensorT_co", covariant=True)

REPOSITORY = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_REVISION = re.compile(r"(?!/)(?!.*\.\.)[^\\:\s]+")

CONFIG_FILE = "config.json"

MAX_NAMES = 1000


class OpenFolder(Protocol[TensorT_co]):
    """Opens a Hugging Face folder."""

    def __call__(
        self, path: Path, name: str, *, pending: Mapping[str, tuple[bytes, int]] | None = None
    ) -> Checkpoint[TensorT_co]:
        """Open a folder; of the files still to come, take the bytes they begin with and their sizes."""
        ...


@attrs.frozen
class HubStore(Generic[TensorT]):
    """Opens repositories of safetensors: the small files at once, the weights when they are fetched.

    What is complete in the cache is opened without asking the Hub, as it was when it was downloaded. Only a
    reference with `offline=False` asks whether there is something newer. What the Hub cannot be asked for is
    opened as it is in the cache, if it is complete there.

    Attributes:
        open_folder: Opens a snapshot in the cache.
        endpoint: The address of the Hub; None is where huggingface_hub's environment points (HF_ENDPOINT).
        cache_dir: The cache; None is where that environment has it (HF_HUB_CACHE, HF_HOME).
        timeout: Seconds until a Hub that has not answered is taken for one that does not.
        stall_timeout: Seconds until a download from which no byte comes is given up.
        free_bytes: How much fits on the disk of a folder.

    """

    open_folder: OpenFolder[TensorT]
    endpoint: str | None = attrs.field(default=None, repr=lambda url: redact(repr(url)))
    cache_dir: Path | None = None
    timeout: float = 5.0
    stall_timeout: float = 60.0
    free_bytes: Callable[[Path], int] = free_bytes

    @property
    def location(self) -> str:
        """Where this store looks, in words."""
        return endpoint_name(resolve_endpoint(self.endpoint))

    def names(self) -> Iterator[str]:
        """Yield what the cache has anything of, then the well-known repositories and their short names."""
        yield from islice(self._cache().repositories(), MAX_NAMES)
        for entry in catalogue.search():
            yield entry.repository
            yield entry.name

    def open(self, reference: ModelReference) -> HubCheckpoint[TensorT]:
        """Open a repository, `org/name` or its short name in the catalogue, without its weights.

        Raises:
            ModelNotFound: The Hub has no such repository or revision, or the name cannot be that of one.
            InvalidCheckpoint: The repository holds no safetensors, or files that cannot be right.
            AccessDenied: The Hub does not give it to us.
            HubUnreachable: It is not complete in the cache, and the Hub does not answer or may not be asked.

        """
        repository = self._repository(reference)
        cached = repository.cache.at_revision(repository.path, repository.revision)
        complete = cached is not None and cached.has_weights
        try:
            return from_cache_or_hub(
                reference,
                partial(self._open_cached, repository, cached) if cached is not None and complete else None,
                partial(self._open_from_hub, repository),
                is_complete=cached is not None and cached.has_tokenizer,
            )
        except HubUnreachable as error:
            if (unnamed := self._open_without_ref(repository, error)) is None:
                raise
            return unnamed

    def tokenizer(self, reference: ModelReference) -> TokenizerFiles:
        """Return the tokenizer of a repository, of which nothing else is downloaded.

        One that is in the cache is taken from there, as `open` takes a model.

        Raises:
            ModelNotFound: The Hub has no such repository or revision, or the name cannot be that of one.
            MissingFile: The repository holds no tokenizer.
            AccessDenied: The Hub does not give it to us.
            HubUnreachable: It is not in the cache, and the Hub does not answer or may not be asked.

        """
        repository = self._repository(reference)
        cached = repository.cache.at_revision(repository.path, repository.revision)

        def fetch() -> TokenizerFiles:
            found = repository.list_files()
            for file in tokenizer_files(repository.path, found.files):
                repository.download(found.commit, file)
            return _remembered(repository, cached, found.commit).tokenizer

        kept = None if cached is None or not cached.has_tokenizer else cached.tokenizer
        return from_cache_or_hub(reference, None if kept is None else lambda: kept, fetch)

    def config_file(self, reference: ModelReference) -> Path:
        """Return the `config.json` of a repository, of which nothing else is downloaded.

        Raises:
            ModelNotFound: The Hub has no such repository or revision, or the name cannot be that of one.
            MissingFile: The repository has no config.
            AccessDenied: The Hub does not give it to us.
            HubUnreachable: It is not in the cache, and the Hub does not answer or may not be asked.

        """
        repository = self._repository(reference)
        cached = repository.cache.at_revision(repository.path, repository.revision)
        kept = None if cached is None else cached.folder / CONFIG_FILE

        def fetch() -> Path:
            found = repository.list_files()
            if CONFIG_FILE not in found.files:
                raise MissingFile(
                    f"{repository.path}/{CONFIG_FILE}", "the repository holds no model that has one."
                )
            repository.download(found.commit, CONFIG_FILE)
            return repository.cache.at_commit(repository.path, found.commit).folder / CONFIG_FILE

        return from_cache_or_hub(reference, (lambda: kept) if kept and kept.is_file() else None, fetch)

    def adapter(self, reference: ModelReference, *, with_tokenizer: bool = False) -> Path:
        """Return a folder with the two files of an adapter, of whose repository nothing else is downloaded.

        Args:
            reference: Which repository.
            with_tokenizer: Whether to download the tokenizer and the prompt style too, where it has them.

        Raises:
            ModelNotFound: The Hub has no such repository or revision, or the name cannot be that of one.
            MissingFile: The repository has no adapter, or none in safetensors.
            AccessDenied: The Hub does not give it to us.
            HubUnreachable: It is not in the cache, and the Hub does not answer or may not be asked.

        """
        repository = self._repository(reference)
        cached = repository.cache.at_revision(repository.path, repository.revision)
        kept = cached if cached is not None and cached.has_adapter else None

        def fetch() -> Path:
            found = repository.list_files()
            for file in ADAPTER_FILES:
                if file not in found.files:
                    raise MissingFile(f"{repository.path}/{file}", "the repository has no such adapter.")
                repository.download(found.commit, file)
            for file in non_weight_files(found.files) if with_tokenizer else ():
                if file not in (CONFIG_FILE, INDEX_FILE):
                    repository.download(found.commit, file)
            return _remembered(repository, cached, found.commit).folder

        is_complete = kept is not None and (kept.has_tokenizer or not with_tokenizer)
        there = None if kept is None else (lambda: kept.folder)
        return from_cache_or_hub(reference, there, fetch, is_complete=is_complete)

    def _open_cached(self, repository: Repository, snapshot: Snapshot) -> HubCheckpoint[TensorT]:
        opened = self.open_folder(snapshot.folder, repository.reference.name)
        return HubCheckpoint(_origin(repository, snapshot.commit), opened)

    def _open_without_ref(
        self, repository: Repository, error: HubUnreachable
    ) -> HubCheckpoint[TensorT] | None:
        """Open the only complete commit in the cache, if none is known to be a branch; None without one.

        Raises:
            HubUnreachable: There are several, or incomplete ones; it says what is in the cache.

        """
        there = repository.cache.snapshots(repository.path)
        complete = [one for one in there if one.has_weights]
        if repository.reference.revision is None and len(complete) == 1:
            commit = complete[0].commit[:12]
            note = f"the cache does not say which branch commit {commit} is of, the only one in it."
            opened = self._open_cached(repository, complete[0])
            opened.extra_notes = (note,)
            return opened
        commits = ", ".join(one.commit for one in complete)
        if commits:
            raise attrs.evolve(
                error, cached=f"is in the local cache at other commits only ({commits})"
            ) from error
        if there and any(one.folder.joinpath(CONFIG_FILE).is_file() for one in there):
            raise attrs.evolve(error, cached="is in the local cache without all of its weights") from error
        return None

    def _open_from_hub(self, repository: Repository) -> HubCheckpoint[TensorT]:
        found = repository.list_files()
        check_files(repository.path, found.files)
        for file in non_weight_files(found.files):
            repository.download(found.commit, file)
        folder = repository.cache.at_commit(repository.path, found.commit).folder
        weights = weight_files(folder, found.files)
        coming = repository.fetch_headers(
            found.commit, [one for one in weights if not (folder / one).is_file()]
        )
        opened = self.open_folder(folder, repository.reference.name, pending=coming)
        sizes = {file: part.file_size for file, part in coming.items()}
        download = Download(repository, found.commit, sizes, self.free_bytes)
        return HubCheckpoint(_origin(repository, found.commit), opened, download)

    def _repository(self, reference: ModelReference) -> Repository:
        path = catalogue.repository_for(reference.name) or reference.name
        if not REPOSITORY.fullmatch(path):
            raise ModelNotFound(reference.name, searched=(self.location,), similar=catalogue.suggest(path))
        if reference.revision is not None and not _REVISION.fullmatch(reference.revision):
            hint = "A revision is a branch, a tag or a commit."
            raise ModelNotFound(str(reference), searched=(self.location,), hint=hint)
        where = resolve_endpoint(self.endpoint)
        return Repository(reference, path, where, self._cache(), self.timeout, self.stall_timeout)

    def _cache(self) -> HubCache:
        return HubCache(resolve_cache_dir(self.cache_dir))


def _remembered(repository: Repository, cached: Snapshot | None, commit: str) -> Snapshot:
    """Return the snapshot of a commit, which the cache records as that of the revision.

    It does not where the cache has a whole model of the revision, even an older one.
    """
    if cached is None or not cached.has_weights:
        repository.cache.write_ref(repository.path, repository.revision, commit)
    return repository.cache.at_commit(repository.path, commit)


def _origin(repository: Repository, commit: str) -> str:
    return f"the repository {repository.path} at commit {commit[:12]} on {repository.hub}"
