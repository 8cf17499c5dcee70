"""A repository on a Hub: what is in it, and its files in whole or in part."""

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
from litgpt.adapters.hub.disk_errors import translate_disk_errors
from litgpt.adapters.hub.env import endpoint_name, resolve_token
from litgpt.adapters.hub.errors import not_found, translate_errors
from litgpt.adapters.hub.progress import DownloadProgress, make_tqdm_class
from litgpt.adapters.hub.timeouts import call_with_timeout
from litgpt.domain.errors import HubUnreachable
from litgpt.domain.formatting.redaction import redact
from litgpt.domain.reference import ModelReference

INITIAL_RANGE = 1 << 18
"""What is read of a file at first: the header of nearly every shard is shorter, and one request is enough."""

MAX_HEADER_BYTES = 100_000_000
"""The safetensors format's own bound. What claims more is not fetched, and refused where it is read."""

MAX_PARALLEL_REQUESTS = 8
"""How many headers are asked for at a time."""


@attrs.frozen
class RepoInfo:
    """What a revision of a repository is at the moment."""

    commit: str
    files: tuple[str, ...]


class RangeResponse(NamedTuple):
    """Bytes of a file, and how many it has in all."""

    content: bytes
    file_size: int


@attrs.frozen
class Repository:
    """A repository, as one caller sees it.

    Attributes:
        reference: What was asked for, and the token to ask with.
        path: `org/name`.
        endpoint: The address of the Hub.
        cache: Where its files go, and what it holds: a model or a data set.
        timeout: Seconds until a Hub that has not answered is taken for one that does not.
        stall_timeout: Seconds until a download from which no byte comes is given up.

    """

    reference: ModelReference
    path: str
    endpoint: str = attrs.field(repr=redact)
    cache: HubCache
    timeout: float
    stall_timeout: float

    @property
    def revision(self) -> str:
        """The branch, tag or commit that is meant."""
        return "main" if self.reference.revision is None else self.reference.revision

    @property
    def hub(self) -> str:
        """What to call the Hub."""
        return endpoint_name(self.endpoint)

    @property
    def token(self) -> str | None:
        """What to show the Hub; None lets huggingface_hub look for one."""
        return resolve_token(self.reference)

    def list_files(self) -> RepoInfo:
        """Ask what there is: one request, never repeated, so that a Hub that is down is found out in seconds.

        Raises:
            HubUnreachable: It did not respond in time, or not like a Hub.
            ModelNotFound: It does not have the repository, or not this revision of it (of a data set it is
                DataNotFound).
            AccessDenied: The token is not valid.

        """

        def ask() -> RepoInfo:
            from huggingface_hub import HfApi

            api = HfApi(endpoint=self.endpoint, token=self.token, library_name="litgpt")
            info = api.dataset_info if self.cache.repo_type == "dataset" else api.model_info
            found = info(self.path, revision=self.revision, timeout=self.timeout)
            return RepoInfo(str(found.sha), tuple(file.rfilename for file in found.siblings or ()))

        with self._translate_errors():
            from huggingface_hub.errors import HFValidationError

            try:
                return call_with_timeout(2 * self.timeout, ask)
            except HFValidationError as error:
                raise not_found(
                    self.cache.repo_type, self.reference.name, hub=self.hub, hint=str(error)
                ) from error
            except (ValueError, KeyError, TypeError, AttributeError):
                # what comes from elsewhere, such as the log-in page of a hotel's network
                raise HubUnreachable(
                    self.reference.name, f"{self.hub} does not respond like a Hugging Face Hub."
                ) from None

    def download(
        self, commit: str, file: str, progress: DownloadProgress | None = None, *, size: int | None = None
    ) -> Path:
        """Bring a file into the cache, if it is not there, and return where it is.

        Args:
            commit: Of which commit.
            file: Which file.
            progress: Counts the bytes.
            size: How many it has, for an error.

        Raises:
            AccessDenied: The Hub refuses it.
            UnsupportedOperation: The disk is full, or the cache cannot be written to.
            HubUnreachable: The Hub does not answer any more.

        """
        moved, given_up = Event(), Event()

        def bring() -> str:
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
                tqdm_class=make_tqdm_class(progress, moved, given_up),  # type: ignore[arg-type] # a bar's methods are enough
            )
            return path

        patience = self.stall_timeout
        what = f"Downloading {self.path}/{file}" + ("" if size is None else f" ({size / 1e9:.2f} GB)")
        with translate_disk_errors(what, self.cache.folder), self._translate_errors():
            try:
                is_arriving = partial(self._is_arriving, patience)
                return Path(call_with_timeout(patience, bring, moved, is_arriving))
            except TimeoutError as error:
                reason = f"its storage has sent nothing for {patience:g} seconds. {_DISABLE_XET_HINT}"
                raise HubUnreachable(self.reference.name, reason) from error
            except KeyboardInterrupt:
                _abort_xet()
                raise
            finally:
                given_up.set()

    def _is_arriving(self, seconds: float) -> bool:
        """Return whether a file of this repository has grown lately: this, or the one that this waits for.

        huggingface_hub locks each file, for threads and processes alike, while one of them downloads it.
        """
        now = time.time()
        return any(now - grown < seconds for grown in self.cache.recent_writes(self.path))

    def file_size(self, commit: str, file: str) -> int:
        """Return how many bytes a file has."""
        with self._translate_errors():
            return self._fetch_range(commit, file, 0, 1).file_size

    def fetch_headers(self, commit: str, files: Sequence[str]) -> dict[str, RangeResponse]:
        """Read the headers of safetensors files, and nothing behind them."""
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
        """Return bytes of a file, and its size, by a request for that range alone."""
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.utils import (  # type: ignore[attr-defined] # its __init__ says nothing of exports
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
            if (
                response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            ):  # an empty file has no ranges
                return RangeResponse(b"", 0)
            hf_raise_for_status(response)
            in_part = response.status_code == HTTPStatus.PARTIAL_CONTENT
            size = response.headers.get("Content-Range" if in_part else "Content-Length", "").rpartition("/")[
                2
            ]
            if not size.isdecimal():
                raise HubUnreachable(self.reference.name, f"{self.hub} does not say how large {file} is.")
            skipped = 0 if in_part else start  # a server that knows no ranges sends all of it
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


_DISABLE_XET_HINT = "HF_HUB_DISABLE_XET=1 downloads without that storage."


def _abort_xet() -> None:
    """End what Xet, the Hub's storage, is sending, as huggingface_hub does itself when it is interrupted."""
    try:
        from huggingface_hub.utils._xet import abort_xet_session
    except ImportError:  # huggingface_hub before 2.0 has no way
        return
    abort_xet_session()  # type: ignore[no-untyped-call]
