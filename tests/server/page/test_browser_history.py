"""The history in the browser: reload, search, delete, export, import, and a server that is away."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from litgpt.llm_parts.saved_chat import read_chat
from tests.server.page.chat_page import StubPage
from tests.server.page.stub_server import MODEL

if TYPE_CHECKING:
    from playwright.sync_api import expect
else:
    expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

pytestmark = pytest.mark.browser

STORED = """new Promise((resolve) => {
    const opening = indexedDB.open("litgpt");
    opening.onsuccess = () => {
        const all = opening.result.transaction("conversations").objectStore("conversations").getAll();
        all.onsuccess = () => resolve(JSON.stringify(all.result));
    };
})"""


def test_a_reload_opens_the_same_chat(chat: StubPage) -> None:
    chat.ask("think")
    chat.page.reload()
    expect(chat.answers).to_contain_text("The answer is 23.")
    expect(chat.page.get_by_label("626 of 2,048 tokens of context")).to_be_visible()


def test_an_answer_that_a_reload_interrupted_can_be_continued(chat: StubPage) -> None:
    chat.begin("hold")
    chat.stub.write("Half of")
    expect(chat.answers).to_contain_text("Half of")
    while "Half of" not in chat.page.evaluate(STORED):
        pass
    chat.page.reload()
    expect(chat.answers).to_contain_text("Half of")
    chat.answers.get_by_role("button", name="Continue").click()
    expect(chat.answers).to_contain_text("Half of And this is the rest")


def test_chats_are_found_by_what_was_said(chat: StubPage) -> None:
    chat.ask("think")
    chat.button("New chat").click()
    chat.ask("length")
    links = chat.page.locator(".chat-link")
    expect(links).to_have_text(["length", "think"])
    chat.page.get_by_label("Search chats").fill("answer 23")
    expect(links).to_have_text(["think"])
    links.click()
    expect(chat.answers).to_contain_text("The answer is 23.")
    chat.page.get_by_label("Search chats").fill("zebra")
    expect(chat.page.get_by_text("No chat has these words.")).to_be_visible()


def test_a_deleted_chat_comes_back(chat: StubPage) -> None:
    chat.ask("think")
    chat.page.locator(".history li").hover()
    chat.button("Delete think").click()
    expect(chat.page.locator(".chat-link")).to_have_count(0)
    chat.button("Undo").click()
    expect(chat.answers).to_contain_text("The answer is 23.")


def test_a_chat_that_is_deleted_while_it_is_answered_stays_deleted(chat: StubPage) -> None:
    chat.begin("hold")
    chat.page.locator(".history li").hover()
    chat.button("Delete hold").click()
    assert chat.stub.closed_by_client.wait(120)
    expect(chat.page.locator(".chat-link")).to_have_count(0)
    chat.page.reload()
    expect(chat.page.get_by_text("Your chats stay in this browser.")).to_be_visible()


def test_a_chat_with_a_model_that_the_server_no_longer_has(chat: StubPage) -> None:
    chat.page.get_by_label("Model", exact=True).select_option("smollm2:poet")
    chat.ask("think")
    chat.stub.models_served = [MODEL]
    chat.page.reload()
    expect(chat.page.get_by_label("Model", exact=True)).to_have_value("smollm2")
    chat.ask("length")
    assert [body["model"] for body in chat.stub.requests] == ["smollm2:poet", "smollm2"]


def test_an_exported_chat_is_one_of_the_library(chat: StubPage, tmp_path: Path) -> None:
    chat.button("Settings").click()
    chat.page.get_by_label("System prompt").fill("Be brief.")
    chat.ask("think")
    chat.ask("tool")
    with chat.page.expect_download() as download:
        chat.button("Export chat").click()
    assert download.value.suggested_filename == "think.json"
    path = tmp_path / "think.json"
    download.value.save_as(path)
    messages = read_chat(path).messages
    assert [message.role for message in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert messages[0].content == "Be brief."
    assert "23 is prime" in messages[2].fields["reasoning_content"]
    assert messages[4].fields["tool_calls"][0]["function"]["name"] == "weather"


def test_a_saved_chat_is_imported_and_exported_without_a_change(chat: StubPage, tmp_path: Path) -> None:
    saved = {
        "messages": [
            {"role": "system", "content": "You know the weather."},
            {"role": "user", "content": "And in Zürich?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "content": "rain", "tool_call_id": "c1"},
            {"role": "assistant", "content": "It rains."},
        ],
        "tools": [{"type": "function", "function": {"name": "weather"}}],
        "chat_template_kwargs": {"enable_thinking": False},
    }
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(saved))
    chat.page.get_by_label("Files of chats").set_input_files(path)
    expect(chat.answers.last).to_contain_text("It rains.")
    with chat.page.expect_download() as download:
        chat.button("Export chat").click()
    assert json.loads(Path(download.value.path()).read_text()) == saved
    chat.ask("think")
    body = chat.stub.requests[-1]
    assert (body["tools"], body["chat_template_kwargs"]) == (saved["tools"], saved["chat_template_kwargs"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no json", "not valid JSON"),
        ('{"a": 1}', "not a saved chat"),
        ('[{"content": "x"}]', "message 1 does not"),
    ],
)
def test_a_file_that_is_not_a_chat_is_refused(chat: StubPage, tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    chat.page.get_by_label("Files of chats").set_input_files(path)
    expect(chat.page.get_by_text("other.json was not imported")).to_contain_text(reason)


def test_the_history_can_be_read_while_the_server_is_away(chat: StubPage) -> None:
    chat.expected += ["ERR_INTERNET_DISCONNECTED", "Failed to fetch"]
    chat.ask("think")
    chat.button("New chat").click()
    chat.page.context.set_offline(True)
    chat.begin("length")
    expect(chat.answers.get_by_role("alert")).to_contain_text("The server does not answer.")
    expect(chat.page.get_by_text("Server not reachable")).to_be_visible()
    chat.page.locator(".chat-link").filter(has_text="think").click()
    expect(chat.answers).to_contain_text("The answer is 23.")
    chat.page.context.set_offline(False)
    expect(chat.page.get_by_text("Server not reachable")).to_be_hidden()
    chat.page.locator(".chat-link").filter(has_text="length").click()
    chat.button("Retry").click()
    expect(chat.answers).to_contain_text("This answer was cut off")
    expect(chat.answers).to_have_count(1)


def test_an_api_key_is_asked_for_and_kept_for_the_tab_only(chat: StubPage) -> None:
    chat.expected.append("401")
    chat.stub.key = "secret"
    chat.page.reload()
    field = chat.page.get_by_label("Key", exact=True)
    field.fill("wrong")
    field.press("Enter")
    expect(chat.page.get_by_text("The server does not accept this key.")).to_be_visible()
    field.fill("secret")
    field.press("Enter")
    expect(chat.page.get_by_role("dialog")).to_be_hidden()
    chat.ask("think")
    stored = chat.page.evaluate("JSON.stringify([{...localStorage}, document.cookie])")
    assert "secret" not in stored
