"""Tests of a conversation on the command line with fakes of all ports: messages and commands."""

import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from litgpt.application.chat import Conversation, TurnOptions
from litgpt.application.generate_text import GenerateText
from litgpt.application.render_prompt import RenderPrompt
from litgpt.chat import Chat
from litgpt.cli.repl.adapter_switch import AdapterSwitch
from litgpt.cli.repl.chat_settings import PARAMETERS
from litgpt.cli.repl.session import COMMANDS, CONTEXT_FULL_HINT, Session
from litgpt.domain.chat.messages import Message
from litgpt.domain.errors import InvalidArgument, ModelNotFound
from litgpt.domain.generation.request import GenerationRequest
from litgpt.testing import ByteTokenizer, ScriptedGenerator
from litgpt.testing.tokenizers import END

YES = (*b"yes", END)


def begin(
    sys_prompt: str | None = None,
    *,
    messages: Sequence[Message] = (),
    script: Sequence[int] = YES,
    context: int = 1000,
) -> Chat:
    tokenizer, generator = ByteTokenizer(), ScriptedGenerator(script, context)
    messages = [Message("system", sys_prompt)] if sys_prompt else list(messages)
    talk = Conversation(RenderPrompt(tokenizer, None), GenerateText(tokenizer, generator), messages)
    turn = TurnOptions(
        talk.renderer, lambda ids: GenerationRequest(prompt=ids, stop_token_ids=frozenset({END}))
    )
    return Chat(talk, lambda _: turn)


class TwoAdapters:
    """A model with an adapter called `base`; others can be loaded."""

    def __init__(self) -> None:
        self.adapters: tuple[str, ...] = ("base",)
        self.active_adapter: str | None = "base"

    def load_adapter(self, path: str, name: str) -> None:
        if path == "missing":
            raise ModelNotFound(path, "the folder does not exist.")
        assert name not in self.adapters
        self.adapters = (*self.adapters, name)
        self.active_adapter = name

    def set_adapter(self, name: str | None) -> None:
        assert name is None or name in self.adapters
        self.active_adapter = name


def talk(
    monkeypatch: pytest.MonkeyPatch,
    *lines: str,
    chat: Chat | None = None,
    settings: dict[str, Any] | None = None,
    quiet: bool = False,
) -> Session:
    """Run a conversation through a pipe."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    adapters = AdapterSwitch(TwoAdapters())
    session = Session(
        lambda messages, _: begin(messages=messages), chat or begin(), settings or {}, adapters, quiet=quiet
    )
    session.run()
    return session


def test_each_nonempty_line_is_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = talk(monkeypatch, "one ", "", "  ", "two")
    assert capsys.readouterr() == ("yes\nyes\n", "")
    assert [message.content for message in session.chat.messages] == ["one", "yes", "two", "yes"]


@pytest.mark.parametrize("farewell", ["/exit", "/quit", " /exit "])
def test_nothing_is_read_after_a_farewell(monkeypatch: pytest.MonkeyPatch, farewell: str) -> None:
    session = talk(monkeypatch, "one", farewell, "two")
    assert len(session.chat.messages) == 2


def test_clearing_a_chat_keeps_the_system_prompt_unless_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    system = [Message("system", "Be brief.")]
    assert talk(monkeypatch, "one", "/reset", chat=begin("Be brief.")).chat.messages == system
    assert talk(monkeypatch, "one", "/system Be brief.").chat.messages == system
    assert talk(monkeypatch, "one", "/system", chat=begin("Be brief.")).chat.messages == []


def test_an_unknown_command_is_refused_unless_it_starts_with_a_space(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = talk(monkeypatch, "/bin/ls is what?", " /help me", "/help")
    assert [message.content for message in session.chat.messages] == ["/help me", "yes"]
    notes = capsys.readouterr().err
    assert notes.startswith("Unknown command /bin/ls (see /help).")
    assert "/save FILE" in notes


def test_a_chat_is_saved_and_an_unwritable_path_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    talk(monkeypatch, "one", f"/save {tmp_path}/no/folder", "/save", f"/save {tmp_path}/my talk.json", "two")
    saved = json.loads((tmp_path / "my talk.json").read_text(encoding="utf-8"))
    assert [message["content"] for message in saved["messages"]] == ["one", "yes"]
    answers, notes = capsys.readouterr()
    assert answers == "yes\nyes\n"
    assert [line.split(":")[0] for line in notes.splitlines()] == [
        "error",
        "Usage",
        f"(Saved to {tmp_path}/my talk.json.)",
    ]


def test_a_too_long_message_is_an_error_and_the_conversation_continues(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = talk(monkeypatch, "x" * 100, "hi", "x" * 100, chat=begin(context=50))
    answers, notes = capsys.readouterr()
    errors = notes.splitlines()
    assert errors[0].startswith("error: The prompt has 103 tokens")
    assert errors[1].startswith("error: The prompt has 112 tokens")
    assert (errors[2:], answers) == ([CONTEXT_FULL_HINT], "yes\n")
    assert len(session.chat.messages) == 2
    assert session.failed


def test_bytes_that_are_not_text_are_not_sent_to_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArgument, match="encoding of this terminal"):
        talk(monkeypatch, os.fsdecode(b"caf\xe9"))


def test_a_block_is_one_message_and_a_space_before_it_keeps_its_quotes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = talk(monkeypatch, '"""one', "", 'two"""', ' """x', '"""a"""')
    contents = [message.content for message in session.chat.messages if message.role == "user"]
    assert contents == ["one\n\ntwo", '"""x', "a"]


def test_messages_are_undone_answered_again_and_edited(monkeypatch: pytest.MonkeyPatch) -> None:
    session = talk(monkeypatch, "/undo", "one", "two", "/undo", "/regenerate", "/edit three", "/undo", "four")
    assert [message.content for message in session.chat.messages] == ["four", "yes"]
    assert not session.failed
    session = talk(monkeypatch, "one", "/edit three")
    assert [message.content for message in session.chat.messages] == ["three", "yes"]


def test_an_edit_that_fails_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    session = talk(monkeypatch, "one", f"/edit {'x' * 100}", chat=begin(context=50))
    assert [message.content for message in session.chat.messages] == ["one", "yes"]
    assert session.failed


def test_a_conversation_is_loaded_and_an_invalid_file_does_not_end_the_session(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    saved, single = tmp_path / "talk.json", tmp_path / "single.json"
    session = talk(monkeypatch, "one", f"/save {saved}", "/clear", "two", "/load no.json", f"/load {saved}")
    assert [message.content for message in session.chat.messages] == ["one", "yes"]
    assert f"(Loaded 2 messages from {saved}.)" in capsys.readouterr().err
    talk(monkeypatch, "/set system Be brief.", f"/save {single}", f"/load {single}")
    assert f"(Loaded 1 message from {single}.)" in capsys.readouterr().err


def test_a_file_with_another_conversation_is_replaced_with_force_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    saved, other = tmp_path / "talk.json", tmp_path / "other.json"
    talk(monkeypatch, "one", f"/save {saved}", "/clear", "two", f"/save {saved}", "/save --force")
    assert capsys.readouterr().err.splitlines()[-1] == "Usage: /save FILE"
    other.write_text(saved.read_text())
    session = talk(monkeypatch, "three", f"/save {other}")
    notes = capsys.readouterr().err
    assert f"error: {other} already contains a different conversation. Use /save --force {other}" in notes
    assert session.failed
    talk(monkeypatch, "three", f"/save --force {other}")
    assert "three" in other.read_text()
    talk(monkeypatch, f"/load {saved}", "/undo", "four", f"/save {saved}")  # it is this chat's own file
    assert "four" in saved.read_text()


def test_parameters_are_set_and_tokens_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = talk(
        monkeypatch,
        *("/set top-k none", "/set top_p 0.5", "/set top_p x", "/set temprature 1"),
        *("/sav", "/tokens", "/show"),
    )
    assert session.settings == {"top_k": None, "top_p": 0.5}
    notes = capsys.readouterr().err
    assert "error: top_p must be a number, none or default" in notes
    assert "Did you mean temperature?" in notes
    assert "Did you mean /save?" in notes
    assert "0 tokens used, 1000 of 1000 left" in notes


def test_a_setting_goes_back_to_the_default_and_the_system_prompt_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ("/set top_k 3", "/set seed 4", "/set top_k default", "/set system Be brief.", "/show")
    session = talk(monkeypatch, *lines)
    assert session.settings == {"seed": 4}
    assert session.chat.messages == [Message("system", "Be brief.")]
    assert "adapter: base\ntemperature: 1.0\ntop_k: none\n" in capsys.readouterr().err


def test_an_answer_that_is_drawn_again_has_another_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    session = talk(monkeypatch, "one", "/regenerate", "/regenerate", settings={"seed": 4})
    assert session.settings == {"seed": 6}
    assert [message.content for message in session.chat.messages] == ["one", "yes"]
    assert talk(monkeypatch, "/regenerate", settings={"seed": 4}).settings == {"seed": 4}


def test_a_truncated_answer_is_reported_unless_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk(monkeypatch, "one", chat=begin(script=(*b"yes",)), settings={"max_new_tokens": 3})
    assert (
        capsys.readouterr().err == "(Stopped after 3 tokens; /set max_new_tokens NUMBER raises the limit.)\n"
    )
    talk(monkeypatch, "one", chat=begin(script=(*b"yes",)), settings={"max_new_tokens": None})
    assert capsys.readouterr().err == "(Stopped at the end of the model's context.)\n"
    talk(monkeypatch, "one", chat=begin(script=(*b"yes",)), quiet=True)
    talk(monkeypatch, "one")
    assert capsys.readouterr().err == ""


def test_help_lists_every_setting_and_how_to_get_line_editing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk(monkeypatch, "/help")
    shown = capsys.readouterr().err
    assert all(name in shown for name in (*PARAMETERS, "/set system", *COMMANDS[:-2]))
    assert shown.endswith("pip install prompt_toolkit\n")


def test_adapters_are_loaded_once_and_switched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (
        "/adapter a/my.final",
        "/adapter b/base",
        "/adapter none",
        "/adapter none",
        "/adapter a/my.final",
    )
    session = talk(monkeypatch, "one", *lines, "/adapter base", "/adapter", "/adapter missing")
    notes = capsys.readouterr().err.splitlines()
    assert [note[16:-2] for note in notes[:6]] == ["my-final", "base-2", "none", "none", "my-final", "base"]
    assert notes[6].startswith("Adapters: base, my-final, base-2. Active: base.")
    assert notes[7].startswith("error: ")
    assert notes[8:] == []  # nothing about room for the conversation
    assert len(session.chat.messages) == 2
    assert session.failed


def test_a_block_without_an_end_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = talk(monkeypatch, '"""one', "two")
    assert session.failed
    assert "The closing" in capsys.readouterr().err
    assert session.chat.messages == []
