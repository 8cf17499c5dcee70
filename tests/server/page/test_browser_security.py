"""What a model writes cannot run, look like the page, or send anything elsewhere."""

from typing import TYPE_CHECKING

import pytest

from tests.server.page.chat_page import StubPage

if TYPE_CHECKING:
    from playwright.sync_api import expect
else:
    expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

pytestmark = pytest.mark.browser


def test_attacks_in_markdown_are_shown_as_text(chat: StubPage) -> None:
    addresses: list[str] = []
    chat.page.on("request", lambda request: addresses.append(request.url))
    chat.ask("attack")
    answer = chat.answers.locator(".markdown")
    expect(answer).to_contain_text("window.attacked = 9")
    assert chat.page.evaluate("window.attacked") is None
    for tag in ("script", "img", "iframe", "svg", "style", "form", "input", "math"):
        assert answer.locator(tag).count() == 0, tag
    attributes = answer.evaluate(
        "element => [...element.querySelectorAll('*')].flatMap((one) => one.getAttributeNames())"
    )
    assert not [name for name in attributes if name.startswith("on") or name in ("style", "src", "id")]
    for link in answer.locator("a").all():
        assert (link.get_attribute("href") or "").startswith("https://")
        assert link.get_attribute("rel") == "noopener noreferrer"
    assert {address for address in addresses if not address.startswith(chat.stub.address)} == set()


def test_an_image_is_a_link(chat: StubPage) -> None:
    chat.ask("attack")
    link = chat.answers.get_by_role("link", name="pixel ↗")
    expect(link).to_have_attribute("href", "https://evil.example/collect?q=secret")


def test_the_policy_of_the_page_refuses_code_that_gets_in_anyway(chat: StubPage) -> None:
    chat.expected += ["Content Security Policy", "TrustedHTML"]
    refused = chat.page.evaluate(
        """async () => {
            const violations = [];
            const seen = (event) => violations.push(event.effectiveDirective);
            document.addEventListener("securitypolicyviolation", seen);
            const script = document.createElement("style");
            script.textContent = "body { display: none }";
            document.head.append(script);
            const image = new Image();
            image.src = "https://evil.example/pixel";
            try { document.body.innerHTML = "<b>x</b>"; } catch { violations.push("innerHTML"); }
            await fetch("https://evil.example/").catch(() => undefined);
            await new Promise((resolve) => setTimeout(resolve));
            return violations;
        }"""
    )
    assert {"style-src-elem", "img-src", "innerHTML", "connect-src"} <= set(refused)
    expect(chat.field).to_be_visible()


@pytest.mark.parametrize(
    ("prompt", "text"), [("quotes", ">" * 6000), ("items", "- " * 3000), ("emphasis", "_a_" * 8000)]
)
def test_markdown_that_would_stop_the_page_is_shown_as_text(chat: StubPage, prompt: str, text: str) -> None:
    chat.ask(prompt)
    assert chat.answers.last.locator("pre.unformatted").text_content() == text
    chat.page.reload()  # the same chat is opened again
    expect(chat.answers.last.locator("pre.unformatted")).to_have_count(1)
    assert "softmax" in chat.ask("markdown")
