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

from litgpt.adapters.hub.cache import Cache
from litgpt.adapters.hub.connection import prepare
from litgpt.adapters.hub.disk import using_cache
from litgpt.adapters.hub.environment import hub_at, token_to_show
from litgpt.adapters.hub.errors import in_our_words, not_found
from litgpt.adapters.hub.progress import Meter, bars
from litgpt.adapters.hub.timeouts import call_with_timeout
from litgpt.domain.errors import HubUnreachable
from litgpt.domain.reference import ModelReference
from litgpt.domain.secrets import without_secrets

FIRST_BYTES = 1 << 18
"""What is read of a file at first: the header of nearly every shard is shorter, and one request is enough."""

LONGEST_HEADER = 100_000_000
"""The safetensors format's own bound. What claims more is not fetched, and refused where it is read."""

AT_ONCE = 8
"""How many headers are asked for at a time."""


@attrs.frozen
class Listing:
    """What a revision of a repository is at the moment."""

    commit: str
    files: tuple[str, ...]


class Part(NamedTuple):
    """Bytes of a file, and how many it has in all."""

    raw: bytes
    size: int


@attrs.frozen
class Repository:
    """A repository, as one caller sees it.

    Attributes:
        reference: What was asked for, and the token to ask with.
        path: `org/name`.
        endpoint: The address of the Hub.
        cache: Where its files go, and what it holds: a model or a data set.
        patience: Seconds until a Hub that has not answered is taken for one that does not.
        patience_with_storage: Seconds until a download from which no byte comes is given up.

    """

    reference: ModelReference
    path: str
    endpoint: str = attrs.field(repr=without_secrets)
    cache: Cache
    patience: float
    patience_with_storage: float

    @property
    def revision(self) -> str:
        """The branch, tag or commit that is meant."""
        return "main" if self.reference.revision is None else self.reference.revision

    @property
    def hub(self) -> str:
        """What to call the Hub."""
        return hub_at(self.endpoint)

    @property
    def token(self) -> str | None:
        """What to show the Hub; None lets huggingface_hub look for one."""
        return token_to_show(self.reference)

    def look(self) -> Listing:
        """Ask what there is: one request, never repeated, so that a Hub that is down is found out in seconds.

        Raises:
            HubUnreachable: It did not respond in time, or not like a Hub.
            ModelNotFound: It does not have the repository, or not this revision of it (of a data set it is
                DataNotFound).
            AccessDenied: The token is not valid.

        """

        def ask() -> Listing:
            from huggingface_hub import HfApi

            api = HfApi(endpoint=self.endpoint, token=self.token, library_name="litgpt")
            info = api.dataset_info if self.cache.kind == "dataset" else api.model_info
            found = info(self.path, revision=self.revision, timeout=self.patience)
            return Listing(str(found.sha), tuple(file.rfilename for file in found.siblings or ()))

        with self._in_our_words():
            from huggingface_hub.errors import HFValidationError

            try:
                return call_with_timeout(2 * self.patience, ask)
            except HFValidationError as error:
                raise not_found(
                    self.cache.kind, self.reference.name, hub=self.hub, hint=str(error)
                ) from error
            except (ValueError, KeyError, TypeError, AttributeError):
                # what comes from elsewhere, such as the log-in page of a hotel's network
                raise HubUnreachable(
                    self.reference.name, f"{self.hub} does not respond like a Hugging Face Hub."
                ) from None

    def download(
        self, commit: str, file: str, meter: Meter | None = None, *, size: int | None = None
    ) -> Path:
        """Bring a file into the cache, if it is not there, and return where it is.

        Args:
            commit: Of which commit.
            file: Which file.
            meter: Counts the bytes.
            size: How many it has, for an error.

        Raises:
            AccessDenied: The Hub refuses it.
            OutOfReach: The disk is full, or the cache cannot be written to.
            HubUnreachable: The Hub does not answer any more.

        """
        moved, given_up = Event(), Event()

        def bring() -> str:
            from huggingface_hub import hf_hub_download

            path: str = hf_hub_download(
                self.path,
                file,
                repo_type=self.cache.kind,
                revision=commit,
                endpoint=self.endpoint,
                cache_dir=self.cache.folder,
                token=self.token,
                etag_timeout=self.patience,
                library_name="litgpt",
                tqdm_class=bars(meter, moved, given_up),  # type: ignore[arg-type] # a bar's methods are enough
            )
            return path

        patience = self.patience_with_storage
        what = f"Downloading {self.path}/{file}" + ("" if size is None else f" ({size / 1e9:.2f} GB)")
        with using_cache(what, self.cache.folder), self._in_our_words():
            try:
                is_arriving = partial(self._is_arriving, patience)
                return Path(call_with_timeout(patience, bring, moved, is_arriving))
            except TimeoutError as error:
                reason = f"its storage has sent nothing for {patience:g} seconds. {_WITHOUT_STORAGE}"
                raise HubUnreachable(self.reference.name, reason) from error
            except KeyboardInterrupt:
                _end_transfers()
                raise
            finally:
                given_up.set()

    def _is_arriving(self, seconds: float) -> bool:
        """Return whether a file of this repository has grown lately: this, or the one that this waits for.

        huggingface_hub locks each file, for threads and processes alike, while one of them downloads it.
        """
        now = time.time()
        return any(now - grown < seconds for grown in self.cache.growing(self.path))

    def size(self, commit: str, file: str) -> int:
        """Return how many bytes a file has."""
        with self._in_our_words():
            return self._read(commit, file, 0, 1).size

    def beginnings(self, commit: str, files: Sequence[str]) -> dict[str, Part]:
        """Read the headers of safetensors files, and nothing behind them."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(files, pool.map(lambda file: self._beginning(commit, file), files), strict=True))

    def _beginning(self, commit: str, file: str) -> Part:
        with self._in_our_words():
            first = self._read(commit, file, 0, FIRST_BYTES)
            needed = 8 + int.from_bytes(first.raw[:8], "little")
            if not len(first.raw) < needed <= min(first.size, LONGEST_HEADER):
                return first
            rest = self._read(commit, file, len(first.raw), needed)
            return Part(first.raw + rest.raw, first.size)

    def _read(self, commit: str, file: str, start: int, stop: int) -> Part:
        """Return bytes of a file, and its size, by a request for that range alone."""
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.utils import (  # type: ignore[attr-defined] # its __init__ says nothing of exports
            build_hf_headers,
            hf_raise_for_status,
        )

        headers = build_hf_headers(token=self.token, library_name="litgpt")
        headers |= {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        kind = self.cache.kind
        url = hf_hub_url(self.path, file, repo_type=kind, revision=commit, endpoint=self.endpoint)
        with get_session().stream(
            "GET", url, headers=headers, timeout=self.patience, follow_redirects=True
        ) as response:
            if (
                response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            ):  # an empty file has no ranges
                return Part(b"", 0)
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
        return Part(bytes(raw[skipped : skipped + stop - start]), int(size))

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        kind = self.cache.kind
        page = f"{without_secrets(self.endpoint)}/{'' if kind == 'model' else f'{kind}s/'}{self.path}"
        prepare(self.reference.name, self.endpoint)
        with in_our_words(self.reference, hub=self.hub, page=page, kind=kind):
            yield


_WITHOUT_STORAGE = "HF_HUB_DISABLE_XET=1 downloads without that storage."


def _end_transfers() -> None:
    """End what Xet, the Hub's storage, is sending, as huggingface_hub does itself when it is interrupted."""
    try:
        from huggingface_hub.utils._xet import abort_xet_session
    except ImportError:  # huggingface_hub before 2.0 has no way
        return
    abort_xet_session()  # type: ignore[no-untyped-call]
