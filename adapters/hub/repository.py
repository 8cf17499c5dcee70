"""A repository on the Hub: list its files, download them, and read safetensors headers."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from threading import Event
from typing import NamedTuple

import attrs

from litgpt.adapters.hub.cache import HubCache
from litgpt.adapters.hub.connection import prepare_connection
from litgpt.adapters.hub.env import endpoint_name, resolve_token
from litgpt.adapters.hub.errors import not_found, translate_disk_errors, translate_errors
from litgpt.adapters.hub.progress import DownloadProgress, make_tqdm_class
from litgpt.adapters.hub.timeouts import call_with_timeout
from litgpt.domain.errors import HubUnreachable
from litgpt.domain.formatting.redaction import redact
from litgpt.domain.reference import ModelReference

INITIAL_RANGE = 1 << 18
"""The bytes of the first range request; the headers of nearly all shards are shorter."""

MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors format; reading a header beyond it is an error."""

MAX_PARALLEL_REQUESTS = 8
"""The number of headers that are fetched in parallel."""


@attrs.frozen
class RepoInfo:
    """The current commit of a revision and its files."""

    commit: str
    files: tuple[str, ...]


class RangeResponse(NamedTuple):
    """A byte range of a file, and the size of the file."""

    content: bytes
    file_size: int


@attrs.frozen
class Repository:
    """A model or data set on the Hub.

    Attributes:
        path: `org/name`.
        cache: The cache, which also determines the type of the repository.
        timeout: The timeout of requests, in seconds.
        stall_timeout: The timeout of a download that receives no bytes, in seconds.
    """

    reference: ModelReference
    path: str
    endpoint: str = attrs.field(repr=redact)
    cache: HubCache
    timeout: float
    stall_timeout: float

    @property
    def revision(self) -> str:
        return "main" if self.reference.revision is None else self.reference.revision

    @property
    def hub(self) -> str:
        return endpoint_name(self.endpoint)

    @property
    def token(self) -> str | None:
        """The access token; None uses the token of huggingface_hub."""
        return resolve_token(self.reference)

    def list_files(self) -> RepoInfo:
        """Request the commit and the list of files, once, without retries.

        Raises:
            HubUnreachable: The Hub did not respond in time, or the response is not that of a Hub.
            ModelNotFound: The repository or revision does not exist (DataNotFound for a data set).
            AccessDenied: The token is not valid.
        """

        def request() -> RepoInfo:
            from huggingface_hub import HfApi

            api = HfApi(endpoint=self.endpoint, token=self.token, library_name="litgpt")
            get_info = api.dataset_info if self.cache.repo_type == "dataset" else api.model_info
            info = get_info(self.path, revision=self.revision, timeout=self.timeout)
            return RepoInfo(str(info.sha), tuple(file.rfilename for file in info.siblings or ()))

        with self._translate_errors():
            from huggingface_hub.errors import HFValidationError

            try:
                return call_with_timeout(2 * self.timeout, request)
            except HFValidationError as error:
                raise not_found(
                    self.cache.repo_type, self.reference.name, hub=self.hub, hint=str(error)
                ) from error
            except (ValueError, KeyError, TypeError, AttributeError):
                # the response of another server, such as a captive portal
                raise HubUnreachable(
                    self.reference.name, f"{self.hub} does not respond like a Hugging Face Hub."
                ) from None

    def download(
        self, commit: str, file: str, progress: DownloadProgress | None = None, *, size: int | None = None
    ) -> Path:
        """Download a file into the cache, unless it is there, and return its path."""
        moved, abandoned = Event(), Event()

        def download() -> str:
            from huggingface_hub import hf_hub_download

            path: str = hf_hub_download(
                self.path,
                file,
                repo_type=self.cache.repo_type,
                revision=commit,
                endpoint=self.endpoint,
                cache_dir=self.cache.folder,
                token=self.token,
                etag_timeout=self.timeout,
                library_name="litgpt",
                tqdm_class=make_tqdm_class(progress, moved, abandoned),  # type: ignore[arg-type] # duck typing
            )
            return path

        timeout = self.stall_timeout
        operation = f"Downloading {self.path}/{file}" + ("" if size is None else f" ({size / 1e9:.2f} GB)")
        with translate_disk_errors(operation, self.cache.folder), self._translate_errors():
            try:
                is_arriving = partial(self._is_arriving, timeout)
                return Path(call_with_timeout(timeout, download, moved, is_arriving))
            except TimeoutError as error:
                reason = f"the download received no data for {timeout:g} seconds. {_DISABLE_XET_HINT}"
                raise HubUnreachable(self.reference.name, reason) from error
            except KeyboardInterrupt:
                _abort_xet()
                raise
            finally:
                abandoned.set()

    def _is_arriving(self, seconds: float) -> bool:
        """Return whether a file of this repository has grown recently, also by another process.

        huggingface_hub locks each file during its download, across threads and processes.
        """
        now = time.time()
        return any(now - modified < seconds for modified in self.cache.recent_writes(self.path))

    def file_size(self, commit: str, file: str) -> int:
        with self._translate_errors():
            return self._fetch_range(commit, file, 0, 1).file_size

    def fetch_headers(self, commit: str, files: Sequence[str]) -> dict[str, RangeResponse]:
        """Fetch the headers of safetensors files, without their data."""
        with ThreadPoolExecutor(MAX_PARALLEL_REQUESTS) as pool:
            return dict(
                zip(files, pool.map(lambda file: self._fetch_header(commit, file), files), strict=True)
            )

    def _fetch_header(self, commit: str, file: str) -> RangeResponse:
        with self._translate_errors():
            first = self._fetch_range(commit, file, 0, INITIAL_RANGE)
            needed = 8 + int.from_bytes(first.content[:8], "little")
            if not len(first.content) < needed <= min(first.file_size, MAX_HEADER_BYTES):
                return first
            rest = self._fetch_range(commit, file, len(first.content), needed)
            return RangeResponse(first.content + rest.content, first.file_size)

    def _fetch_range(self, commit: str, file: str, start: int, stop: int) -> RangeResponse:
        """Return a byte range of a file, with a range request."""
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.utils import (  # type: ignore[attr-defined] # re-exported implicitly
            build_hf_headers,
            hf_raise_for_status,
        )

        headers = build_hf_headers(token=self.token, library_name="litgpt")
        headers |= {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        kind = self.cache.repo_type
        url = hf_hub_url(self.path, file, repo_type=kind, revision=commit, endpoint=self.endpoint)
        with get_session().stream(
            "GET", url, headers=headers, timeout=self.timeout, follow_redirects=True
        ) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # an empty file
                return RangeResponse(b"", 0)
            hf_raise_for_status(response)
            is_partial = response.status_code == HTTPStatus.PARTIAL_CONTENT
            header = response.headers.get("Content-Range" if is_partial else "Content-Length", "")
            size = header.rpartition("/")[2]
            if not size.isdecimal():
                raise HubUnreachable(self.reference.name, f"{self.hub} did not send the size of {file}.")
            skipped = 0 if is_partial else start  # a server without range support sends the whole file
            raw = bytearray()
            for chunk in response.iter_bytes():
                raw += chunk
                if len(raw) >= skipped + stop - start:
                    break
        return RangeResponse(bytes(raw[skipped : skipped + stop - start]), int(size))

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        kind = self.cache.repo_type
        page = f"{redact(self.endpoint)}/{'' if kind == 'model' else f'{kind}s/'}{self.path}"
        prepare_connection(self.reference.name, self.endpoint)
        with translate_errors(self.reference, hub=self.hub, page=page, repo_type=kind):
            yield


_DISABLE_XET_HINT = "Set HF_HUB_DISABLE_XET=1 to download without Xet."


def _abort_xet() -> None:
    """Abort transfers of Xet, as huggingface_hub does on KeyboardInterrupt."""
    try:
        from huggingface_hub.utils._xet import abort_xet_session
    except ImportError:  # huggingface_hub < 2.0 cannot abort
        return
    abort_xet_session()  # type: ignore[no-untyped-call]
