"""Keyboard, screen readers, scrolling, phones and themes."""

from typing import TYPE_CHECKING, Any

import pytest

from tests.server.page.chat_page import StubPage

if TYPE_CHECKING:
    from playwright.sync_api import expect
else:
    expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}

POSITION = "document.querySelector('.scroller').scrollTop"
DISTANCE = "(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight)"


def test_keys(chat: StubPage) -> None:
    chat.field.press_sequentially("think")
    chat.field.press("Shift+Enter")
    chat.field.press_sequentially("twice")
    assert chat.field.input_value() == "think\ntwice"
    chat.field.press("Enter")
    chat.done()
    assert chat.stub.requests[-1]["messages"] == [{"role": "user", "content": "think\ntwice"}]
    chat.page.keyboard.press("Control+k")
    expect(chat.page.get_by_label("Search chats")).to_be_focused()
    chat.page.keyboard.press("Control+Shift+O")
    expect(chat.field).to_be_focused()
    expect(chat.answers).to_have_count(0)
    chat.field.press("?")
    assert chat.field.input_value() == "?"
    chat.button("Settings").focus()
    chat.page.keyboard.press("/")
    expect(chat.page.get_by_label("Search chats")).to_be_focused()
    chat.button("Settings").focus()
    chat.page.keyboard.press("?")
    expect(chat.page.get_by_role("dialog", name="Help")).to_be_visible()
    chat.page.keyboard.press("Escape")
    expect(chat.page.get_by_role("dialog", name="Help")).to_be_hidden()


def test_the_accessibility_tree(chat: StubPage) -> None:
    chat.ask("think")
    expect(chat.page.locator("body")).to_match_aria_snapshot("""
      - navigation "Chats":
        - button "New chat"
        - searchbox "Search chats"
        - list:
          - listitem:
            - button "think"
      - banner:
        - combobox "Model":
          - option "smollm2" [selected]
        - button "Settings"
      - main:
        - region "Conversation":
          - article "You":
            - text: think
          - article "smollm2":
            - group: Thoughts
            - paragraph
        - textbox "Message"
        - button "Send"
    """)
    unnamed = chat.page.evaluate(
        """[...document.querySelectorAll("button, input, textarea, select")]
            .filter((one) => !one.hidden && !one.ariaLabel && !one.textContent.trim() && !one.labels?.length)
            .map((one) => one.outerHTML)"""
    )
    assert unnamed == []


def test_answers_are_read_to_screen_readers_by_sentence(chat: StubPage) -> None:
    chat.begin("hold")
    chat.stub.write("The first sen")
    expect(chat.answers).to_contain_text("The first sen")
    announcer = chat.page.locator("[aria-live=polite]")
    expect(announcer).to_have_text("")
    chat.stub.write("tence. The sec")
    expect(announcer).to_have_text("The first sentence.")
    chat.stub.write("ond one", None)
    expect(announcer).to_have_text("The second one")


def test_the_page_follows_an_answer_only_while_the_reader_is_at_its_end(chat: StubPage) -> None:
    scroller = chat.page.locator(".scroller")
    chat.begin("hold")
    chat.stub.write("\n\n".join(f"Paragraph {number}." for number in range(60)))
    expect(chat.answers).to_contain_text("Paragraph 59.")
    chat.page.wait_for_function(f"{DISTANCE}(document.querySelector('.scroller')) < 2")
    scroller.hover()
    chat.page.mouse.wheel(0, -600)
    jump = chat.button("Jump to latest")
    expect(jump).to_be_visible()
    before = chat.page.evaluate(POSITION)
    chat.stub.write("\n\n".join(f"\n\nAnd {number}." for number in range(30)))
    expect(chat.answers).to_contain_text("And 29.")
    assert chat.page.evaluate(POSITION) == before
    jump.click()
    chat.stub.write("\n\nThe end.", None)
    chat.done()
    expect(chat.answers.get_by_text("The end.")).to_be_in_viewport()
    expect(jump).to_be_hidden()


@pytest.mark.parametrize("context_options", [PHONE])
def test_on_a_phone(chat: StubPage, context_options: dict[str, Any]) -> None:
    expect(chat.page.get_by_role("navigation", name="Chats")).to_be_hidden()
    chat.field.press_sequentially("think")
    chat.field.press("Enter")
    chat.field.press_sequentially("twice")
    assert chat.field.input_value() == "think\ntwice"
    chat.button("Send").tap()
    expect(chat.answers).to_contain_text("The answer is 23.")
    chat.ask_by_button("markdown")
    width = context_options["viewport"]["width"]
    assert chat.page.evaluate("document.documentElement.scrollWidth") <= width
    assert chat.page.evaluate("document.querySelector('.scroller').scrollWidth") <= width
    chat.button("Show chats").tap()
    chat.page.locator(".chat-link").tap()
    expect(chat.page.get_by_role("navigation", name="Chats")).to_be_hidden()


@pytest.mark.parametrize("context_options", [{"color_scheme": "dark", "reduced_motion": "reduce"}])
def test_the_theme_is_that_of_the_system_until_it_is_chosen(
    chat: StubPage, context_options: dict[str, Any]
) -> None:
    color = "getComputedStyle(document.documentElement).backgroundColor"
    assert context_options["color_scheme"] == "dark"
    dark = chat.page.evaluate(color)
    chat.button("Theme: system").click()
    light = chat.page.evaluate(color)
    assert light != dark
    chat.page.reload()
    assert chat.page.evaluate(color) == light
    chat.begin("hold")
    assert (
        chat.page.locator(".pulse span").first.evaluate("one => getComputedStyle(one).animationName")
        == "none"
    )
