"""A browser with the page of a stub."""

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.server.page.chat_page import TIMEOUT_MS, StubPage
from tests.server.page.stub_server import Stub, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def chromium() -> str:
    path = os.environ.get("LITGPT_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip("Chromium is not on the PATH; LITGPT_CHROMIUM can name it")
    return path


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator["Browser"]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    sync_api.expect.set_options(timeout=TIMEOUT_MS)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving() as stub:
        yield stub


@pytest.fixture
def context_options() -> dict[str, Any]:
    """Options of the browser's window, which a test may override by parametrization."""
    return {"viewport": {"width": 1200, "height": 800}}


@pytest.fixture
def chat(browser: "Browser", stub: Stub, context_options: dict[str, Any]) -> Iterator[StubPage]:
    context = browser.new_context(**context_options)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    chat = StubPage(context.new_page(), stub)
    chat.open()
    yield chat
    context.close()
    stub.write(None)
    assert chat.unexpected() == []
