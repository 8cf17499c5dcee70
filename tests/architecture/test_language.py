"""Docstrings, comments, messages and documents use standard terms and American spelling."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.repository import ROOT, SOURCES, files

AVOID = {
    r"theirs|ours": "the noun: `hf_name`, `name`",
    r"told": "reported, logged, specified, sent",
    r"whatever": "any",
    r"(?<!there )(?:is|are|was|were) no (?!longer|more)": "is not a …",
    r"(?:has|have) not the": "does not have the",
    r"what of": "which part of",
    r"learnt|spelt": "learned, spelled",
    r"\w*(?:quantis|normalis|optimis|recognis|organis|initialis)\w*": "-ize",
    r"\w*(?:serialis|summaris|tokenis|minimis|maximis)\w*": "-ize",
    r"\w*(?:behaviour|favour|colour|honour|neighbour|licence)\w*": "American spelling",
}
"""A pattern of words to avoid, and what to write instead."""

PATTERN = re.compile("|".join(rf"(?P<w{i}>\b(?:{words})\b)" for i, words in enumerate(AVOID)), re.IGNORECASE)
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
HISTORY = ROOT / "CHANGELOG.md"


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a document, or the comments and strings of a module, with their line numbers."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING) or token.type == getattr(
            tokenize, "FSTRING_MIDDLE", None
        ):
            yield from enumerate(token.string.splitlines(), token.start[0])


def matches(paths: Iterator[Path]) -> list[str]:
    hits = []
    for path in paths:
        for number, line in prose(path):
            for hit in PATTERN.finditer(line):
                instead = list(AVOID.values())[int(str(hit.lastgroup)[1:])]
                hits.append(f"{path.relative_to(ROOT)}:{number}: {hit[0]!r}: write {instead}")
    return hits


def test_the_library_and_its_documents_avoid_these_words() -> None:
    modules = files(*SOURCES, suffix=".py")
    documents = (path for path in DOCUMENTS if path != HISTORY)
    assert matches(iter([*modules, *documents])) == []


def test_a_word_to_avoid_is_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""What theirs are."""\nNAME = "quantised"  # it is no number, and there is no other\n'
    )
    words = [hit[0] for _, line in prose(module) for hit in PATTERN.finditer(line)]
    assert words == ["theirs", "quantised", "is no "]
