"""The page as it is served: its headers, the hashes of its policy, the sources that it was built from."""

import base64
import gzip
import hashlib
import re

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from litgpt.server.page.page import page_route, read_page
from tests.architecture.repository import PAGE_SOURCES

HTML = (PAGE_SOURCES.parent / "index.html").read_bytes()


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(Starlette(routes=[page_route()]))


def test_the_page_was_built_from_the_sources_beside_it() -> None:
    digest = hashlib.sha256()
    paths = (path for path in PAGE_SOURCES.rglob("*") if path.is_file())
    names = sorted(path.relative_to(PAGE_SOURCES).as_posix() for path in paths)
    for name in names:
        if not name.startswith("node_modules/"):
            content = (PAGE_SOURCES / name).read_bytes()
            digest.update(f"{name}\n{len(content)}\n".encode() + content)
    built_from = re.search(rb'name="litgpt-sources" content="(\w+)"', HTML)
    assert built_from, "the page does not have a hash of its sources"
    assert built_from[1].decode() == digest.hexdigest(), "run npm run build in entrypoints/server/page/web"


def test_the_page_is_small() -> None:
    assert len(read_page().compressed) < 100_000


def test_the_policy_allows_the_script_and_the_style_of_the_page_and_nothing_else(client: TestClient) -> None:
    policy = client.get("/").headers["content-security-policy"]
    directives = dict(one.split(" ", 1) for one in policy.split("; "))
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>".encode(), HTML, re.DOTALL)
        assert directives[directive] == f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'"
        assert HTML.count(b"<" + tag.encode() + b">") == 1
    assert directives["default-src"] == "'none'"
    assert directives["connect-src"] == "'self'"
    assert directives["img-src"] == "'self' data:"
    assert {directives[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert not re.search(r"https?:|unsafe|\*", policy)


def test_nothing_in_the_page_is_fetched_from_another_host() -> None:
    code = re.sub(rb'<template id="licenses">.*?</template>', b"", HTML, flags=re.DOTALL)
    hosts = set(re.findall(rb"https?://([\w.-]+)", code))
    assert hosts <= {b"www.w3.org", b"github.com"}, "namespaces of XML, and a message of marked"
    markup = re.sub(rb"<script>.*?</script>", b"", code, flags=re.DOTALL)
    assert not re.search(rb"(?:src|href)=\"(?!data:)|@import|url\(", markup)


def test_headers(client: TestClient) -> None:
    response = client.get("/", headers={"Accept-Encoding": "identity"})
    assert response.content == HTML
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in response.headers


def test_the_page_is_compressed_for_those_who_accept_it(client: TestClient) -> None:
    with client.stream("GET", "/", headers={"Accept-Encoding": "br, gzip"}) as response:
        raw = b"".join(response.iter_raw())
    assert response.headers["content-encoding"] == "gzip"
    assert int(response.headers["content-length"]) == len(raw) < len(HTML) / 2
    assert gzip.decompress(raw) == HTML


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_page_that_the_browser_has_is_not_sent_again(client: TestClient, encoding: str) -> None:
    headers = {"Accept-Encoding": encoding}
    tag = client.get("/", headers=headers).headers["etag"]
    again = client.get("/", headers={**headers, "If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag
    assert client.get("/", headers={**headers, "If-None-Match": '"other"'}).status_code == 200


def test_head_and_other_methods(client: TestClient) -> None:
    head = client.head("/")
    assert head.status_code == 200
    assert head.headers["content-security-policy"]
    assert client.post("/").status_code == 405
