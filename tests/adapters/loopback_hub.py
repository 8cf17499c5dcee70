"""A Hugging Face Hub on 127.0.0.1 that serves a folder: real HTTP, and failures on demand.

`root/org/name/` is the repository `org/name`, `root/datasets/org/name/` the dataset of that name. Each has
one commit, the present contents of the folder, on the branch `main`; writing to the folder moves `main`.
"""

import hashlib
import json
import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

import attrs

# Without this, huggingface_hub requests a list of known programs from the real Hub before its first request.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

LONG = 120.0
"""Seconds in which a busy machine answers for certain: the patience of a store that is not to give up."""
LARGE = 4096
"""From this size on a file is described as the Hub describes large ones, in headers of their own."""


@attrs.define
class LoopbackHub:
    """Serves `root` while its context is entered, and records the requests.

    Attributes:
        root: The folder with an `org/name/` folder for each repository.
        gated: Repositories whose files are refused until their conditions are accepted.
        private: Repositories that are visible only with a token.
        bad_tokens: Tokens that are always refused.
        broken_with: A status for every response, such as 503.
        cut_once: Files whose next full download is cut after this number of bytes.
        without_ranges: Whether range requests are answered with the whole file.
        signature: Suffix of the URL to which requests for a large file are redirected.
        expired: Whether signed URLs are refused.
        storage: URL of a Xet storage that large files are reported to be in.
        requests: The requests in order: method, space and path.
        sent: Number of bytes sent of each file, by `org/name/file`.
        logins: Credentials sent to the Hub, or to a proxy, for which this server can be used too.
    """

    root: Path
    gated: set[str] = attrs.field(factory=set)
    private: dict[str, str] = attrs.field(factory=dict)
    bad_tokens: set[str] = attrs.field(factory=set)
    broken_with: int | None = None
    cut_once: dict[str, int] = attrs.field(factory=dict)
    without_ranges: bool = False
    signature: str | None = None
    expired: bool = False
    storage: str | None = None
    requests: list[str] = attrs.field(factory=list)
    sent: Counter[str] = attrs.field(factory=Counter)
    logins: set[str] = attrs.field(factory=set)
    _server: ThreadingHTTPServer = attrs.field(init=False)
    _thread: Thread = attrs.field(init=False)

    def __enter__(self) -> Self:
        handler = type("_Answer", (_Answer,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        """The value for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def commit(self, repository: str) -> str:
        """Return the commit of a repository's branch `main`."""
        folder = self.root / repository
        seen = [f"{name} {(folder / name).stat().st_mtime_ns}" for name in self.files(repository)]
        return hashlib.sha1("\n".join(seen).encode(), usedforsecurity=False).hexdigest()

    def files(self, repository: str) -> list[str]:
        """Return the file names of a repository."""
        folder = self.root / repository
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


class _Answer(BaseHTTPRequestHandler):
    """Answers one request and closes the connection (HTTP/1.0), so that none is left open at the end."""

    hub: LoopbackHub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Write nothing to stderr."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.broken_with is not None:
            self._refuse(self.hub.broken_with)
            return
        login = self.headers.get("authorization") or ""
        self.hub.logins |= {login, self.headers.get("proxy-authorization") or ""}
        token = login.removeprefix("Bearer ")
        if token in self.hub.bad_tokens:
            self._refuse(401, message="Invalid credentials in Authorization header")
            return
        parts = path.strip("/").split("/")
        if parts[0] == "signed":
            self._signed("/".join(parts[1:]))
            return
        about = parts[:2] in (["api", "models"], ["api", "datasets"])
        if about:
            parts = parts[2:] if parts[1] == "models" else parts[1:]
        owner = 1 if parts[0] == "datasets" else 0
        repository, rest = "/".join(parts[: owner + 2]), parts[owner + 2 :]
        if not (self.hub.root / repository).is_dir() or self.hub.private.get(repository, token) != token:
            self._refuse(401, "RepoNotFound", "Repository not found")
        elif about:
            self._about(repository, rest)
        else:
            self._file(repository, rest[1], "/".join(rest[2:]))

    def _about(self, repository: str, rest: list[str]) -> None:
        """Answer `/api/models/org/name[/revision/main]` and `…/tree/main`."""
        commit = self.hub.commit(repository)
        if rest[1:] not in ([], ["main"], [commit]):
            self._refuse(404, "RevisionNotFound", "Invalid rev id")
            return
        names = self.hub.files(repository)
        if rest[:1] == ["xet-read-token"]:
            self._send_to_storage()
            return
        if rest[:1] == ["tree"]:
            self._send_json([self._entry(repository, name) for name in names])
            return
        siblings = [{"rfilename": name} for name in names]
        self._send_json({"id": repository, "sha": commit, "siblings": siblings})

    def _send_to_storage(self) -> None:
        """Send the location of large files."""
        headers = {"X-Xet-Cas-Url": str(self.hub.storage), "X-Xet-Access-Token": "token"}
        self._start(200, {**headers, "X-Xet-Token-Expiration": str(2**40), "Content-Length": "0"})

    def _entry(self, repository: str, name: str) -> dict[str, object]:
        content = (self.hub.root / repository / name).read_bytes()
        entry = {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
        if len(content) < LARGE:
            return entry
        return {**entry, "lfs": {"oid": _sha256(content), "size": len(content), "pointerSize": 134}}

    def _file(self, repository: str, revision: str, name: str) -> None:
        """Answer `/org/name/resolve/main/config.json`."""
        commit = self.hub.commit(repository)
        path = self.hub.root / repository / name
        if revision not in ("main", commit):
            self._refuse(404, "RevisionNotFound", "Invalid rev id")
        elif repository in self.hub.gated:
            self._refuse(403, "GatedRepo", "Access to this model is restricted")
        elif not path.is_file():
            self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        else:
            self._found(f"{repository}/{name}", path.read_bytes(), commit)

    def _found(self, key: str, content: bytes, commit: str) -> None:
        if self.hub.signature is None or len(content) < LARGE:
            self._send_file(key, content, {"X-Repo-Commit": commit})
            return
        about = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{_sha256(content)}"'}
        about |= {"X-Linked-Size": str(len(content)), "Content-Length": "0"}
        elsewhere = self.hub.endpoint.replace("127.0.0.1", "localhost")  # redirects to the same host differ
        self._start(302, {**about, "Location": f"{elsewhere}/signed/{key}?{self.hub.signature}"})

    def _signed(self, key: str) -> None:
        """Answer the signed URL of a large file."""
        if self.hub.expired or urlsplit(self.path).query != self.hub.signature:
            self._refuse(403, message=f"{self.path} has expired")
            return
        self._send_file(key, (self.hub.root / key).read_bytes(), {})

    def _send_file(self, key: str, content: bytes, headers: dict[str, str]) -> None:
        start, end = 0, len(content)
        requested = self.headers.get("range")
        if requested and not content:
            self._refuse(416)
            return
        if requested and not self.hub.without_ranges:
            first, last = requested.removeprefix("bytes=").split("-")
            start, end = int(first), min(int(last) + 1, end) if last else end
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        etag = _sha256(content)
        if len(content) >= LARGE:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))}
            if self.hub.storage is not None:
                repository = "/".join(key.split("/")[:2])
                route = f"{self.hub.endpoint}/api/models/{repository}/xet-read-token/main"
                headers |= {"X-Xet-Hash": etag, "X-Xet-Refresh-Route": route}
        headers |= {"ETag": f'"{etag}"', "Content-Length": str(end - start), "Accept-Ranges": "bytes"}
        self._start(206 if "Content-Range" in headers else 200, headers)
        if self.command == "HEAD":
            return
        body = content[start:end]
        if not requested and (cut := self.hub.cut_once.pop(key, None)) is not None:
            body = body[:cut]
        self.hub.sent[key] += len(body)
        self._write(body)

    def _send_json(self, answer: object) -> None:
        body = json.dumps(answer).encode()
        self._start(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        self._write(body)

    def _refuse(
        self, status: int, code: str = "", message: str = "", headers: dict[str, str] | None = None
    ) -> None:
        fields = {"Content-Length": "0", "X-Error-Code": code, "X-Error-Message": message, **(headers or {})}
        self._start(status, {name: value for name, value in fields.items() if value})

    def _start(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _write(self, body: bytes) -> None:
        try:
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True  # the client has closed the connection


@contextmanager
def silent_port() -> Iterator[str]:
    """Yield the URL of a port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def refused_port() -> str:
    """Return the URL of a port without a listener, reserved for the duration of the test."""
    return f"http://127.0.0.1:{_BOUND.getsockname()[1]}"


_BOUND = socket.socket()
_BOUND.bind(("127.0.0.1", 0))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
