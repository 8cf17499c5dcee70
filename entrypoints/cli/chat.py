"""`litgpt chat`: a conversation in the terminal."""

from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer

from litgpt.cli import console, options
from litgpt.cli.loading import load
from litgpt.cli.typed import readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from litgpt.chat import Chat

HELP = """\
/reset        forget what was said
/save FILE    write what was said to a file, which --resume reads
/help         show this
/exit         leave; so does Ctrl-D
Ctrl-C stops an answer."""


def chat(  # noqa: PLR0913 - each is an option
    model: options.Model = options.DEFAULT_MODEL,
    *,
    sys_prompt: options.SysPrompt = None,
    resume: Annotated[str | None, typer.Option(help="A file that /save wrote, to go on from.")] = None,
    max_new_tokens: options.MaxNewTokensOrAll = None,
    temperature: options.Temperature = 0.8,  # LitGPT's commands draw more soberly than its library
    top_k: options.TopK = 50,
    top_p: options.TopP = 1.0,
    seed: options.Seed = None,
    stop: options.Stop = None,
    precision: options.Precision = None,
    accelerator: options.Accelerator = "auto",
    revision: options.Revision = None,
    offline: options.Offline = False,
    access_token: options.AccessToken = None,
    quiet: options.Quiet = False,
) -> None:
    """Talk with a model, which remembers what was said."""
    from litgpt.application.asking import Settings
    from litgpt.chat import read_messages
    from litgpt.domain.reference import ModelReference

    how: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
        "stop": stop,
    }
    Settings(**how)
    said = read_messages(resume) if resume else None
    reference = ModelReference(model, revision, offline or None, access_token)
    with load(reference, accelerator=accelerator, precision=precision, quiet=quiet) as llm:
        talk = _Talk(lambda: llm.chat(sys_prompt, **how), llm.chat(sys_prompt, resume=said, **how))
        if console.at_a_keyboard() and not quiet:
            console.note(f"Talking with {model}. /help shows what else there is, Ctrl-D ends.")
        talk.go_on()


@attrs.define
class _Talk:
    """A conversation with the person at the keyboard.

    Attributes:
        anew: Begins another conversation.
        chat: This one.

    """

    anew: "Callable[[], Chat]"
    chat: "Chat"

    def go_on(self) -> None:
        """Answer line by line, until there are no more."""
        while True:
            try:
                line = readable(console.ask("> ")).strip()
            except (EOFError, KeyboardInterrupt):
                if console.at_a_keyboard():
                    console.note("")  # the shell's prompt begins on a line of its own
                return
            if line == "/exit":
                return
            if line:
                self._take(line)

    def _take(self, line: str) -> None:
        from litgpt.domain.errors import LitGPTError

        command, _, rest = line.partition(" ")
        try:
            if command == "/help":
                console.note(HELP)
            elif command == "/reset":
                self.chat.close()
                self.chat = self.anew()
                console.note("(Forgotten.)")
            elif command == "/save":
                self._save(rest.strip())
            elif command.startswith("/"):
                console.note(f"There is no {command}.\n{HELP}")
            else:
                self._answer(line)
        except LitGPTError as error:  # such as a text that is too long: the conversation goes on
            console.error(str(error))

    def _answer(self, line: str) -> None:
        pieces = self.chat.stream(line)
        try:
            for piece in pieces:
                console.show(piece, end="")
            console.show("")
        except KeyboardInterrupt:
            console.show("")
            if not console.at_a_keyboard():
                raise
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _save(self, path: str) -> None:
        if not path:
            console.note("Where to? /save FILE")
            return
        try:
            self.chat.save(path)
        except OSError as error:
            console.error(f"{path} cannot be written: {error.strerror}.")
        else:
            console.note(f"(Saved to {path}.)")
