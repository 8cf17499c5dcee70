"""A chat with a fake model, as a process that starts quickly: `python chat_program.py [--plain]`.

A message with "long" in it gets an answer that takes seconds, any other a few words of Markdown.
"""

import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from litgpt.application.chat import Conversation, TurnOptions
from litgpt.application.concurrency.shared_engine import EngineStream
from litgpt.application.generate_text import GenerateText
from litgpt.application.render_prompt import RenderPrompt
from litgpt.chat import Chat
from litgpt.cli import console
from litgpt.cli.repl.adapter_switch import AdapterSwitch
from litgpt.cli.repl.session import Session
from litgpt.domain.chat.messages import Message
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.testing import ByteTokenizer, ScriptedGenerator
from litgpt.testing.tokenizers import END, USER

SHORT = (*b"# Llamas\nThey eat **grass** and `hay`.\n- not *meat*", END)
LONG = b"on and on "


class NoAdapters:
    """A model without adapters."""

    adapters: tuple[str, ...] = ()
    active_adapter: str | None = None

    def load_adapter(self, path: str, name: str) -> None:
        """Not used."""

    def set_adapter(self, name: str | None) -> None:
        """Not used."""


class TwoAnswers(ScriptedGenerator):
    """Answers a message with "long" in it slowly and without an end."""

    def generate(self, requests: Iterable[GenerationRequest | None]) -> EngineStream:
        """Answer one prompt."""
        (request,) = requests
        assert request is not None
        prompt = list(request.prompt)
        last = prompt[len(prompt) - prompt[::-1].index(USER) :]
        is_long = b"long" in bytes(value for value in last if value < 256)
        self.script = Slowly() if is_long else SHORT
        return super().generate([request])


class Slowly(Sequence[int]):
    """The bytes of a text, repeated at a fixed rate."""

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, at: Any) -> Any:
        time.sleep(0.01)
        return LONG[at % len(LONG)]


def begin(messages: Sequence[Message], settings: dict[str, Any]) -> Chat:
    """Start a conversation."""
    tokenizer, generator = ByteTokenizer(), TwoAnswers(SHORT, 10_000)
    talk = Conversation(
        RenderPrompt(tokenizer, None),
        GenerateText(tokenizer, generator),
        list(messages),
    )
    options: dict[str, Any] = {
        "max_new_tokens": settings.get("max_new_tokens", 1000),
        "sampling_params": SamplingParams(seed=settings.get("seed")),
        "stop_token_ids": frozenset({END}),
    }
    turn = TurnOptions(talk.renderer, lambda ids: GenerationRequest(prompt=ids, **options))
    return Chat(talk, lambda _: turn)


def main() -> None:
    """Run the chat, without prompt_toolkit if `--plain` is given."""
    if "--plain" in sys.argv:
        sys.modules["prompt_toolkit"] = None  # type: ignore[assignment] # so that it cannot be imported
    session = Session(begin, begin((), {}), {}, AdapterSwitch(NoAdapters()), details={"model": "fake"})
    console.note("Ctrl-D quits.")
    session.run()


if __name__ == "__main__":
    main()
