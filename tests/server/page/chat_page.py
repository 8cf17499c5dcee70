"""The page as a test uses it: by the names that a screen reader reads."""

from typing import TYPE_CHECKING

from tests.server.page.stub_server import Stub

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Locator, Page


TIMEOUT_MS = 120_000
"""How long a loaded machine may take."""


class ChatPage:
    """A page of a server, with every error that its console shows."""

    def __init__(self, page: "Page", address: str) -> None:
        self.page = page
        self.address = address
        self.messages: list[str] = []
        self.expected: list[str] = []
        page.set_default_timeout(TIMEOUT_MS)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.messages.append(str(error)))

    def _note(self, message: "ConsoleMessage") -> None:
        if message.type in ("error", "warning"):
            self.messages.append(message.text)

    def unexpected(self) -> list[str]:
        """Return the errors of the console that the test does not expect."""
        return [text for text in self.messages if not any(part in text for part in self.expected)]

    def open(self) -> None:
        self.page.goto(self.address)
        self.field.wait_for()

    @property
    def field(self) -> "Locator":
        return self.page.get_by_label("Message", exact=True)

    @property
    def answers(self) -> "Locator":
        return self.page.locator("article.answer")

    @property
    def prompts(self) -> "Locator":
        return self.page.locator("article.prompt")

    def button(self, name: str) -> "Locator":
        return self.page.get_by_role("button", name=name, exact=True)

    def begin(self, text: str) -> None:
        """Send a prompt, and wait until its answer has begun."""
        self.field.fill(text)
        self.field.press("Enter")
        self.prompts.filter(has_text=text).last.wait_for()

    def ask(self, text: str) -> str:
        """Send a prompt and return the answer."""
        self.begin(text)
        self.done()
        return str(self.answers.last.inner_text())

    def ask_by_button(self, text: str) -> None:
        """Send a prompt as on a phone, where Enter makes a new line."""
        self.field.fill(text)
        self.button("Send").tap()
        self.prompts.filter(has_text=text).last.wait_for()
        self.done()

    def done(self) -> None:
        self.button("Send").wait_for()


class StubPage(ChatPage):
    """A page of the stub."""

    def __init__(self, page: "Page", stub: Stub) -> None:
        super().__init__(page, stub.address)
        self.stub = stub
