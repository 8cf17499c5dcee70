"""The page with the real server and a real model."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from litgpt import LLM
from litgpt.server.app import create_app
from litgpt.server.run import start_in_thread
from litgpt.server.settings import ServerSettings
from tests.server.page.chat_page import ChatPage

if TYPE_CHECKING:
    from playwright.sync_api import Browser, expect
else:
    expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

pytestmark = pytest.mark.browser

KEY = "a-key-of-the-test"


@pytest.fixture
def chat(browser: "Browser") -> Iterator[ChatPage]:
    settings = ServerSettings(port=0, api_keys=(KEY,))
    app = create_app(LLM.load("smollm2")._served_model("smollm2"), settings)
    with start_in_thread(app, settings) as server:
        context = browser.new_context()
        chat = ChatPage(context.new_page(), server.url)
        chat.expected = ["401"]
        chat.open()
        yield chat
        context.close()
    assert chat.unexpected() == []


def test_a_chat_with_smollm2(chat: ChatPage) -> None:
    chat.page.get_by_label("Key", exact=True).fill(KEY)
    chat.page.keyboard.press("Enter")
    expect(chat.page.get_by_role("heading", name="Ask smollm2")).to_be_visible()
    chat.button("Settings").click()
    expect(chat.page.get_by_label("Top k")).to_have_attribute("placeholder", "50")
    chat.page.get_by_role("switch", name="Token probabilities").check()
    chat.page.get_by_label("Top k").fill("1")
    chat.page.get_by_label("Longest answer").fill("4")
    chat.ask("What is the capital of France?")
    expect(chat.answers).to_contain_text("The capital of France")
    chat.page.get_by_label("Longest answer").fill("40")
    chat.answers.get_by_role("button", name="Continue").click()
    expect(chat.answers).to_contain_text("The capital of France is Paris.")
    chat.done()
    chat.button("Regenerate").click()
    expect(chat.answers.get_by_text("2 / 2")).to_be_visible()
    chat.done()
    expect(chat.answers).to_contain_text("The capital of France is Paris.")
    chat.button("Token probabilities").click()
    chat.page.locator(".token").first.hover()
    expect(chat.page.get_by_label("Likeliest tokens here").get_by_role("listitem")).to_have_count(5)
