"""The model store of the Hugging Face Hub and its local cache."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import attrs

from litgpt.adapters.hub.cache import HubCache, Snapshot
from litgpt.adapters.hub.download import download_files
from litgpt.adapters.hub.env import endpoint_name, from_cache_or_hub, resolve_cache_dir, resolve_endpoint
from litgpt.adapters.hub.file_filter import (
    ADAPTER_FILES,
    CONFIG_FILE,
    INDEX_FILE,
    check_files,
    non_weight_files,
    required_files,
    tokenizer_files,
    weight_files,
)
from litgpt.adapters.hub.repository import Repository
from litgpt.adapters.hub.tensors import HubTensors
from litgpt.application.files.free_space import free_bytes
from litgpt.domain import catalogue
from litgpt.domain.errors import HubUnreachable, ModelNotFound
from litgpt.domain.formatting.redaction import redact
from litgpt.domain.ports import Checkpoint
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerFiles

TensorT = TypeVar("TensorT")
TensorT_co = TypeVar("TensorT_co", covariant=True)

REPOSITORY = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_REVISION = re.compile(r"(?!/)(?!.*\.\.)[^\\:\s]+")

MAX_NAMES = 1000


class OpenFolder(Protocol[TensorT_co]):
    """Opens a Hugging Face folder."""

    def __call__(
        self, path: Path, name: str, *, pending: Mapping[str, tuple[bytes, int]] | None = None
    ) -> Checkpoint[TensorT_co]:
        """Open a folder; `pending` has the header bytes and the size of files that are not downloaded yet."""
        ...


@attrs.frozen
class HubStore(Generic[TensorT]):
    """Opens safetensors repositories: small files are downloaded at once, weights by `fetch`.

    A complete snapshot in the cache is opened without a request to the Hub, unless the reference has
    `offline=False`, which checks for a newer commit. If the Hub does not respond, a complete snapshot in the
    cache is used.

    Attributes:
        endpoint: The URL of the Hub; None uses HF_ENDPOINT.
        cache_dir: The cache folder; None uses HF_HUB_CACHE or HF_HOME.
        timeout: The timeout of requests, in seconds.
        stall_timeout: The timeout of a download that receives no bytes, in seconds.
    """

    open_folder: OpenFolder[TensorT]
    endpoint: str | None = attrs.field(default=None, repr=lambda url: redact(repr(url)))
    cache_dir: Path | None = None
    timeout: float = 5.0
    stall_timeout: float = 60.0
    free_bytes: Callable[[Path], int] = free_bytes

    @property
    def location(self) -> str:
        return endpoint_name(resolve_endpoint(self.endpoint))

    def names(self) -> Iterator[str]:
        yield from islice(self._cache().repositories(), MAX_NAMES)
        for entry in catalogue.search():
            yield entry.repository
            yield entry.name

    def open(self, reference: ModelReference) -> Checkpoint[TensorT]:
        """Open a repository, `org/name` or a name of the catalogue, without its weights.

        Raises:
            ModelNotFound: The repository or revision does not exist, or the name is not valid.
            InvalidCheckpoint: The repository has no safetensors, or its files are not valid.
            AccessDenied: The Hub denied access.
            HubUnreachable: The cache is not complete, and the Hub does not respond or offline mode is on.
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
            if (checkpoint := self._open_without_ref(repository, error)) is None:
                raise
            return checkpoint

    def tokenizer(self, reference: ModelReference) -> TokenizerFiles:
        """Return the tokenizer files of a repository, downloading no other files.

        A cached tokenizer is used under the same conditions as in `open`, whose errors may be raised.
        """
        return self._snapshot(reference, tokenizer_files, lambda cached: cached.has_tokenizer).tokenizer

    def config_file(self, reference: ModelReference) -> Path:
        """Return the path of `config.json` of a repository, downloading no other files."""
        select = partial(
            required_files, names=(CONFIG_FILE,), reason="the repository does not have a config."
        )
        snapshot = self._snapshot(reference, select, lambda cached: (cached.folder / CONFIG_FILE).is_file())
        return snapshot.folder / CONFIG_FILE

    def adapter(self, reference: ModelReference, *, with_tokenizer: bool = False) -> Path:
        """Return a folder with the two files of a LoRA adapter, downloading no other files of its repository.

        `with_tokenizer` also downloads the tokenizer and the prompt style, if available.
        """

        def select(repository: str, files: Sequence[str]) -> Sequence[str]:
            reason = "the repository has no LoRA adapter in safetensors format."
            required = required_files(repository, files, names=ADAPTER_FILES, reason=reason)
            others = non_weight_files(files) if with_tokenizer else ()
            return [*required, *(file for file in others if file not in (CONFIG_FILE, INDEX_FILE))]

        def is_complete(cached: Snapshot) -> bool:
            return cached.has_tokenizer or not with_tokenizer

        return self._snapshot(reference, select, lambda cached: cached.has_adapter, is_complete).folder

    def _snapshot(
        self,
        reference: ModelReference,
        select: Callable[[str, Sequence[str]], Sequence[str]],
        is_usable: Callable[[Snapshot], bool],
        is_complete: Callable[[Snapshot], bool] = lambda _: True,
    ) -> Snapshot:
        """Return a snapshot with the selected files, from the cache if it has all of them, or from the Hub.

        Without a response of the Hub, a usable snapshot in the cache is returned although it is not complete.
        """
        repository = self._repository(reference)
        cached = repository.cache.at_revision(repository.path, repository.revision)
        usable = cached if cached is not None and is_usable(cached) else None

        def fetch() -> Snapshot:
            info = repository.list_files()
            for file in select(repository.path, info.files):
                repository.download(info.commit, file)
            if cached is None or not cached.has_weights:  # a complete model of an older commit stays in use
                repository.cache.write_ref(repository.path, repository.revision, info.commit)
            return repository.cache.at_commit(repository.path, info.commit)

        complete = usable is not None and is_complete(usable)
        read_cached = None if usable is None else (lambda: usable)
        return from_cache_or_hub(reference, read_cached, fetch, is_complete=complete)

    def _open_cached(self, repository: Repository, snapshot: Snapshot) -> Checkpoint[TensorT]:
        opened = self.open_folder(snapshot.folder, repository.reference.name)
        return attrs.evolve(opened, origin=_origin(repository, snapshot.commit))

    def _open_without_ref(self, repository: Repository, error: HubUnreachable) -> Checkpoint[TensorT] | None:
        """Open the only complete snapshot in the cache, if no ref is recorded; None without a snapshot."""
        snapshots = repository.cache.snapshots(repository.path)
        complete = [snapshot for snapshot in snapshots if snapshot.has_weights]
        if repository.reference.revision is None and len(complete) == 1:
            commit = complete[0].commit[:12]
            note = f"the cache does not record the branch of commit {commit}, the only commit in it."
            opened = self._open_cached(repository, complete[0])
            return attrs.evolve(opened, notes=(note, *opened.notes))
        commits = ", ".join(snapshot.commit for snapshot in complete)
        if commits:
            raise attrs.evolve(
                error, cached=f"is in the local cache at other commits only ({commits})"
            ) from error
        if any(snapshot.folder.joinpath(CONFIG_FILE).is_file() for snapshot in snapshots):
            raise attrs.evolve(error, cached="is in the local cache without all of its weights") from error
        return None

    def _open_from_hub(self, repository: Repository) -> Checkpoint[TensorT]:
        info = repository.list_files()
        check_files(repository.path, info.files)
        for file in non_weight_files(info.files):
            repository.download(info.commit, file)
        folder = repository.cache.at_commit(repository.path, info.commit).folder
        weights = weight_files(folder, info.files)
        pending = repository.fetch_headers(
            info.commit, [file for file in weights if not (folder / file).is_file()]
        )
        opened = self.open_folder(folder, repository.reference.name, pending=pending)
        sizes = {file: header.file_size for file, header in pending.items()}
        download = partial(download_files, repository, info.commit, sizes, self.free_bytes)
        source = HubTensors(opened.name, opened.source, download)
        return attrs.evolve(opened, origin=_origin(repository, info.commit), source=source)

    def _repository(self, reference: ModelReference) -> Repository:
        path = catalogue.repository_for(reference.name) or reference.name
        if not REPOSITORY.fullmatch(path):
            raise ModelNotFound(reference.name, searched=(self.location,), similar=catalogue.suggest(path))
        if reference.revision is not None and not _REVISION.fullmatch(reference.revision):
            hint = "A revision is a branch, a tag or a commit."
            raise ModelNotFound(str(reference), searched=(self.location,), hint=hint)
        endpoint = resolve_endpoint(self.endpoint)
        return Repository(reference, path, endpoint, self._cache(), self.timeout, self.stall_timeout)

    def _cache(self) -> HubCache:
        return HubCache(resolve_cache_dir(self.cache_dir))


def _origin(repository: Repository, commit: str) -> str:
    return f"the repository {repository.path} at commit {commit[:12]} on {repository.hub}"
