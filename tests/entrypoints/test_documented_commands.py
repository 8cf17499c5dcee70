"""Tests of the documents' commands: all are parsed, and the output of checked ones is compared.

A console block below `<!-- checked -->` is typed into a terminal, line by line, with the files in the blocks
below `<!-- file: NAME -->`. Losses and precisions depend on the machine and may differ; `…` stands for any
text, and a line of it for any number of lines.
"""

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from litgpt.cli.deprecated import command_name, translate_alias
from litgpt.cli.main import command_group
from litgpt.cli.training import add_options
from tests.architecture.repository import ROOT

DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^>]*) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
MEASURED = re.compile(r"(?<=loss )[\d.]+|(?<=on cpu in )\S+(?=,)|(?<=about )[\d.]+ [GM]B(?= of memory)")


def blocks(document: Path) -> Iterator[tuple[str, str]]:
    """Yield the mark and the text of each code block."""
    for actual in BLOCK.finditer(document.read_text(encoding="utf-8")):
        yield actual["mark"] or "", actual["text"]


def commands() -> list[str]:
    """Return every complete `litgpt` command of the documents."""
    lines = [line for document in DOCUMENTS for _, text in blocks(document) for line in text.splitlines()]
    written_out = [
        line.removeprefix("$ ") for line in lines if line.startswith("$ litgpt ") and "…" not in line
    ]
    return sorted({re.split("  #| > | 2> ", command)[0].strip() for command in written_out})


@pytest.mark.parametrize("command", commands())
def test_a_documented_command_is_understood(command: str) -> None:
    arguments: Sequence[str] = translate_alias(shlex.split(command)[1:])
    add_options(command_name(arguments))
    name, *rest = arguments
    command_group(arguments).commands[name].make_context(name, list(rest))


def expected(output: str) -> re.Pattern[str]:
    """Return the pattern that matches the lines of a document."""
    parts = []
    for line in re.sub(" +", " ", output).splitlines():
        known = [re.escape(word).replace("…", ".+") for word in MEASURED.split(line.rstrip())]
        parts.append(r"(?:.*\n)*" if line.strip() == "…" else r"[\w.-]+(?: [GM]B)?".join(known) + r"\n")
    return re.compile("".join(parts))


def checked() -> list[Path]:
    return [document for document in DOCUMENTS if any(mark == "checked" for mark, _ in blocks(document))]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal")
@pytest.mark.parametrize("document", checked(), ids=lambda path: path.name)
def test_the_documented_output_of_a_command_is_its_output(document: Path, tmp_path: Path) -> None:
    from tests.entrypoints.shell import Shell, kill

    shell = Shell(tmp_path)
    for mark, text in blocks(document):
        if name := re.fullmatch(r"file: (\S+)", mark):
            (tmp_path / name[1]).write_text(text, encoding="utf-8")
        elif mark == "checked":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                printed = re.sub(" +", " ", shell.run(command.split("  #")[0].rstrip()))
                assert expected(output).fullmatch(printed), f"{command}\n{printed}\nis not\n{output}"
    kill(shell.child)


def test_a_document_with_other_output_is_detected() -> None:
    output = "Using cpu\n…\nloss     1.5, … tokens/s\nPreparing …\n"
    assert expected(output).fullmatch("Using cpu\nmore\nloss 2.75, 14.5 tokens/s\nPreparing …\n")
    for other in (
        "Using gpu\nloss 1.5, 3 tokens/s\nPreparing …\n",
        "Using cpu\nloss 1.5, tokens/s\nPreparing …\n",
        "Using cpu\nloss 1.5, 3 tokens/s\n",
    ):
        assert not expected(output).fullmatch(other)
