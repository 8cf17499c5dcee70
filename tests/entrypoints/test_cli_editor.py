"""Tests of messages written in the user's editor; the editors are POSIX commands."""

import sys

import pytest

from litgpt.cli.repl.editor import UNCHANGED_HINT, edit_text, editor_command

if sys.platform == "win32":
    pytest.skip("needs POSIX commands", allow_module_level=True)


@pytest.mark.parametrize(
    ("text", "command", "result", "explained"),
    [
        ("one", "sh -c 'printf two >> \"$0\"'", "onetwo", ""),
        ("", "sh -c 'printf %s café > \"$0\"'", "café", ""),
        ("one\n", "true", "", UNCHANGED_HINT),
        ("one", "sh -c ': > \"$0\"'", "", "(The message is empty; nothing is sent.)"),
        ("one", "false", None, "error: The editor 'false' ended with status 1."),
        (
            "one",
            "open 'quote",
            None,
            'error: The editor "open \'quote" of $VISUAL or $EDITOR cannot be started',
        ),
    ],
)
def test_a_text_is_edited(
    capsys: pytest.CaptureFixture[str], text: str, command: str, result: str | None, explained: str
) -> None:
    assert edit_text(text, command) == result
    assert capsys.readouterr().err.strip().startswith(explained)


def test_visual_comes_before_editor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "code --wait")
    monkeypatch.setenv("EDITOR", "nano")
    assert editor_command() == "code --wait"
    monkeypatch.setenv("VISUAL", " ")
    assert editor_command() == "nano"
    monkeypatch.delenv("EDITOR")
    assert editor_command() == ""
