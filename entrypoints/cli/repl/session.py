"""The chat loop on a terminal or a pipe: messages, and commands that start with /."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import attrs

from litgpt.cli import console
from litgpt.cli.answer_text import AnswerText
from litgpt.cli.arguments import decode_input
from litgpt.cli.repl.adapter_switch import AdapterSwitch
from litgpt.cli.repl.answer_speed import AnswerSpeed, truncation_notice
from litgpt.cli.repl.chat_files import ChatFiles
from litgpt.cli.repl.chat_settings import show_settings, update_settings
from litgpt.cli.repl.editor import NO_EDITOR_HINT, edit_text, editor_command
from litgpt.cli.repl.keyboard import Keyboard, defer_interrupt, is_open_block
from litgpt.cli.repl.markdown import MarkdownStream
from litgpt.domain.formatting.units import format_count

if TYPE_CHECKING:
    from litgpt.chat import Said
    from litgpt.cli.repl.chat_protocol import AnswerEnd, AnswerPart, Conversation
    from litgpt.domain.chat.messages import Message

HELP = '''\
/set NAME VALUE  change temperature, top_k, top_p, min_p, repetition_penalty, presence_penalty,
                 frequency_penalty, max_new_tokens, reasoning_budget or seed; VALUE may be none or default
                 /set system TEXT is /system TEXT
/show            show the model, the settings and the conversation
/system TEXT     start a new conversation with TEXT as the system prompt
/clear, /reset   start a new conversation with the same system prompt
/undo            remove the last message and its answer
/regenerate      answer the last message again; a seed that is set is raised by 1
/edit [TEXT]     change the last message, in $VISUAL or $EDITOR or to TEXT, and send it again
/adapter [NAME]  switch to a LoRA adapter: a name, a folder or repository to load, or none
/tokens          show the tokens used and the context left
/save FILE       write the conversation to a file; /save --force FILE replaces another one
/load FILE       continue from a file that /save wrote
/tool TEXT       send TEXT as the result of a tool call
/help            show this
/exit, /bye      quit; so do Ctrl-D, and Ctrl-C twice on an empty line
Ctrl-C stops an answer or clears the line. """ begins and ends a message of several lines; \\ at the end of a
line continues it. A space before / or """ makes it part of the message.'''
EDITOR_HELP = """\
A paste is one message, Alt-Enter begins a new line, Ctrl-R searches the history and Ctrl-X Ctrl-E opens the
message in the editor."""
NO_EDITOR_HELP = (
    "For history, completion and pastes of several lines, install prompt_toolkit: pip install prompt_toolkit"
)

COMMANDS = (
    *("/set", "/show", "/system", "/clear", "/reset", "/undo", "/regenerate", "/edit", "/adapter"),
    *("/tokens", "/save", "/load", "/tool", "/help", "/exit", "/quit", "/bye"),
)
CONTEXT_FULL_HINT = (
    "(Use /undo to shorten the conversation, /save FILE to save it, or /reset to start a new one.)"
)
EXIT_COMMANDS = (["/exit"], ["/quit"], ["/bye"])


@attrs.define
class Session:
    """A chat session, until the user quits or the input ends.

    `start_chat` returns a new conversation from messages and settings; `details` are shown by `/show`.
    `on_interrupt` is in effect during an answer and yields a function: whether Ctrl-C was pressed.
    """

    start_chat: "Callable[[list[Message], dict[str, Any]], Conversation]"
    chat: "Conversation"
    settings: dict[str, Any]
    adapters: AdapterSwitch
    details: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    files: ChatFiles = attrs.field(factory=ChatFiles, kw_only=True)
    on_interrupt: Callable[[], AbstractContextManager[Callable[[], bool]]] = attrs.field(
        default=defer_interrupt, kw_only=True
    )
    quiet: bool = attrs.field(default=False, kw_only=True)
    failed: bool = attrs.field(default=False, init=False)
    _keyboard: Keyboard = attrs.field(factory=lambda: Keyboard(COMMANDS), init=False)

    def run(self) -> None:
        """Read and handle messages and commands until the end of the input or an exit command."""
        from litgpt.domain.errors import LitGPTError, PromptTooLong

        while (line := self._next_message()) is not None and line.split() not in EXIT_COMMANDS:
            try:
                self.handle(line)
            except LitGPTError as error:  # such as a prompt that is too long; the conversation continues
                self.failed = True
                console.error(str(error))
                if self.chat.messages and isinstance(error, PromptTooLong):
                    console.note(CONTEXT_FULL_HINT)

    def handle(self, line: str) -> None:  # noqa: C901, PLR0912 - one case per command
        """Answer a message or run a command; a line that starts with a space is a message."""
        command, _, rest = line.partition(" ") if line.startswith("/") else ("", "", line)
        if command not in COMMANDS and "\n" in line:  # pasted text that starts with a path
            command, rest = "", line
        text = rest.strip()
        match command:
            case "" if text:
                self._answer(_unquoted(rest))
            case "":
                pass
            case "/help":
                console.note(f"{HELP}\n{EDITOR_HELP if self._keyboard.edits_lines else NO_EDITOR_HELP}")
            case "/set":
                self._set(text)
            case "/show":
                self._show_state()
            case "/reset" | "/clear":
                self._restart(self._system_messages())
            case "/system":
                from litgpt.domain.chat.messages import Message

                self._restart([Message("system", text)] if text else [])
            case "/undo":
                removed = self.chat.undo()
                console.note("(Removed the last message and its answer.)" if removed else "Nothing to undo.")
            case "/regenerate":
                self._regenerate(None)
            case "/edit":
                self._edit(text)
            case "/adapter":
                self.adapters.choose(text)
            case "/tokens":
                used = self.chat.count_tokens()
                console.note(f"{used} tokens used, {self.chat.context - used} of {self.chat.context} left")
            case "/tool" if text:
                self._answer({"role": "tool", "content": text})
            case "/tool":
                console.note("Usage: /tool TEXT")
            case "/save":
                self.files.save(self.chat, text)
            case "/load":
                self._load(text)
            case _:
                close = difflib.get_close_matches(command, COMMANDS, n=1)
                hint = f" Did you mean {close[0]}?" if close else ""
                console.note(
                    f"Unknown command {command} (see /help).{hint} "
                    "To send it to the model, start the line with a space."
                )

    def _answer(self, message: "Said") -> None:
        if not console.stdin_is_terminal():  # Ctrl-C ends the program, not only this answer
            self._show(message, stopped=lambda: False)
            return
        try:
            with self._keyboard.answering(), self.on_interrupt() as stopped:
                self._show(message, stopped)
        except KeyboardInterrupt:
            self.chat.close()  # interrupted within a forward pass, or while an answer is received
            console.show("")

    def _show(self, message: "Said", stopped: Callable[[], bool]) -> None:
        from litgpt.domain.errors import LitGPTError

        pace = AnswerSpeed()
        try:
            completion = self._show_parts(pace.measure(self.chat.events(message)), stopped)
        except LitGPTError:
            if pace.tokens:
                console.show("")  # the error is on a line of its own
            raise
        console.show("")
        if self.quiet:
            return
        if completion is not None and completion.finish_reason == "length":
            limit = self.settings.get("max_new_tokens")
            console.note(truncation_notice(completion, limit, "/set max_new_tokens NUMBER"))
        if pace.tokens and console.stdin_is_terminal() and console.stdout_is_terminal():
            console.note(f"({pace.summary()})")

    def _show_parts(self, parts: "Iterator[AnswerPart]", stopped: Callable[[], bool]) -> "AnswerEnd | None":
        """Show an answer; return its end, or None if it was stopped."""
        markdown = MarkdownStream(styled=console.supports_styles())
        answer, completion = AnswerText(), None
        try:
            for part in parts:
                completion = part.completion
                if text := answer.push(part):
                    console.show_rendered(text, markdown.feed)
                if stopped():
                    break
        finally:
            console.show_rendered("", lambda _: markdown.finish())
        return completion

    def _regenerate(self, text: "str | None") -> None:
        """Answer the last message again, or `text` in its place; if that fails, restore the conversation."""
        messages, settings = self.chat.messages, self.settings
        last = self.chat.undo()
        if last is None:
            console.note("The conversation is empty.")
            return
        remaining = self.chat.messages
        if text is None and settings.get("seed") is not None:  # the same seed would repeat the answer
            self._continue_from(remaining, settings | {"seed": settings["seed"] + 1})
        try:
            self._answer(last if text is None else text)
        finally:
            if len(self.chat.messages) == len(remaining):
                self._continue_from(messages, settings)

    def _edit(self, text: str) -> None:
        last = next((message for message in reversed(self.chat.messages) if message.role == "user"), None)
        if text := text or self._edited(last.text if last else ""):
            self._regenerate(decode_input(text)) if last else self._answer(decode_input(text))

    def _edited(self, text: str) -> str:
        """Return the message after the user edited it; empty if there is nothing to send."""
        if console.stdin_is_terminal() and console.stdout_is_terminal():
            if not (command := editor_command()):
                console.note(NO_EDITOR_HINT)
            elif (changed := edit_text(text, command)) is not None:
                console.note("".join(f"> {line}\n" for line in changed.splitlines()).rstrip("\n"))
                return changed
        try:
            return self._keyboard.read_more("edit> ", text).strip()
        except EOFError:
            return ""
        except KeyboardInterrupt:
            if console.stdin_is_terminal():
                return ""
            raise

    def _set(self, text: str) -> None:
        if text.startswith("system "):
            self.handle(f"/{text}")
            return
        if (changed := update_settings(self.settings, text)) is None:
            return
        self._continue_from(self.chat.messages, changed)
        console.note(f"(Set: {text}.)")

    def _show_state(self) -> None:
        for name, value in {**self.details, "adapter": self.adapters.active}.items():
            console.note(f"{name}: {value}")
        show_settings(self.settings, self.chat.sampling)
        for message in self.chat.messages:
            console.note(f"{message.role}: {message.text}")

    def _system_messages(self) -> "list[Message]":
        first = self.chat.messages[:1]
        return first if first and first[0].role == "system" else []

    def _restart(self, messages: "list[Message]") -> None:
        self._continue_from(messages, self.settings)
        console.note("(Started a new conversation.)")

    def _continue_from(self, messages: "list[Message]", settings: dict[str, Any]) -> None:
        fresh = self.start_chat(messages, settings)  # also validates the settings
        self.chat.close()
        self.chat, self.settings = fresh, settings

    def _load(self, path: str) -> None:
        if (saved := self.files.load(path)) is None:
            return
        changes = {"tools": saved.tools, "chat_template_kwargs": saved.chat_template_kwargs}
        settings = self.settings | {name: value for name, value in changes.items() if value}
        self._continue_from(saved.messages, settings)
        console.note(f"(Loaded {format_count(len(saved.messages), 'message')} from {path}.)")

    def _next_message(self) -> str | None:
        """Return the next message or command; None at the end of the input."""
        text, start = "", console.history_length()
        try:
            text = self._keyboard.read()
            while console.stdin_is_terminal() and text.endswith("\\"):
                text = f"{text[:-1]}\n{self._keyboard.read_more('… ')}"
            while is_open_block(text):
                text = f"{text}\n{self._keyboard.read_more('… ')}"
            if "\n" in text:
                console.merge_history(start, text)
            return decode_input(text)
        except KeyboardInterrupt:
            if console.stdin_is_terminal():
                return ""  # the user discarded a multi-line message
            raise
        except EOFError:
            if console.stdin_is_terminal():
                console.note("")  # the shell prompt starts on a new line
            elif text:
                self.failed = True
                console.error('The closing """ of the last message is missing.')
            return None


def _unquoted(text: str) -> str:
    if text.startswith('"""') and text.rstrip().endswith('"""') and len(text.strip()) >= 6:
        return text.strip()[3:-3].strip("\n") or text.strip()
    return text.strip()
