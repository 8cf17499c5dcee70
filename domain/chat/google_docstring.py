"""Docstrings in Google's style: the summary, the descriptions of the arguments and of the return value."""

import inspect
import re
from collections.abc import Iterable

import attrs

_HEADERS = ("Args:", "Returns:", "Raises:")
_ENTRY = re.compile(r"(?P<indent>\s*)(?P<name>\w+)\s*(\([^()]*\))?:(?P<text>.*)")


@attrs.frozen
class Docstring:
    """The summary of a docstring, its descriptions of arguments in one line each, and of the return value."""

    summary: str
    arguments: dict[str, str]
    returns: str | None


def parse_docstring(doc: str) -> Docstring:
    """Parse a docstring. A section starts with a line `Args:`, `Returns:` or `Raises:`."""
    sections: dict[str, list[str]] = {}
    lines = sections.setdefault("summary", [])
    for line in inspect.cleandoc(doc).splitlines():
        word = line.split(maxsplit=1)[:1]
        if word and word[0] in _HEADERS:
            # With text behind the header, the line ends the section before and begins none.
            lines = [] if line.strip() != word[0] else sections.setdefault(word[0], [])
        else:
            lines.append(line)
    returns = sections.get("Returns:")
    return Docstring(
        summary="\n".join(sections["summary"]).strip(),
        arguments=_arguments(sections.get("Args:", ())),
        returns=None if returns is None else "\n".join(returns).strip(),
    )


def _arguments(lines: Iterable[str]) -> dict[str, str]:
    """Return the descriptions by argument. Lines that are indented deeper than a name continue its text."""
    parts: dict[str, list[str]] = {}
    current: list[str] = []
    indent: int | None = None
    for line in filter(str.strip, lines):
        entry = _ENTRY.fullmatch(line)
        if entry and (indent is None or len(entry["indent"]) <= indent):
            indent = len(entry["indent"])
            current = parts[entry["name"]] = [entry["text"]]
        else:
            current.append(line)
    return {name: " ".join(filter(None, map(str.strip, text))) for name, text in parts.items()}
