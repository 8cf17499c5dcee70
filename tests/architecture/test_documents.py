"""Tests of the documents: generated tables are current, links resolve, and maps name existing files."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.repository import ROOT

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)#]*)(?:#(?P<anchor>[^)]*))?\)")


def definitions(path: Path) -> set[str]:
    """Return the names that a module defines, with those of a class as `Class.name`."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for name in _defined(node):
            names |= {name} | {
                f"{name}.{member}" for inner in getattr(node, "body", []) for member in _defined(inner)
            }
    return names


def _defined(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = (
        [node.target]
        if isinstance(node, ast.AnnAssign)
        else (node.targets if isinstance(node, ast.Assign) else [])
    )
    return [target.id for target in targets if isinstance(target, ast.Name)]


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_generated_tables_are_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], check=False)
    assert done.returncode == 0, "run: python docs/generate.py"


def test_the_readme_has_at_most_120_lines() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("name", ["migrating.md", "reliability.md"])
def test_a_table_has_one_row_for_each_subject(name: str) -> None:
    lines = (ROOT / "docs" / name).read_text(encoding="utf-8").splitlines()
    subjects = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    rows = [subject for subject in subjects if subject.strip("-") and subject != "Failure"]
    assert len(rows) > 50
    assert {subject for subject in rows if rows.count(subject) > 1} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_or_definition(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for link in LINK.finditer(text):
        target = link["target"]
        if re.match(r"\w+:", target):
            continue
        path = (document.parent / target).resolve() if target else document
        assert path.exists(), link[0]
        if link["anchor"]:
            assert link["anchor"] in anchors(path.read_text(encoding="utf-8")), link[0]
        if path.suffix == ".py" and re.fullmatch(r"`[\w.]+`", link["text"]):
            assert link["text"].strip("`") in definitions(path), link[0]


def test_every_folder_of_the_map_exists_and_every_folder_is_on_it() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = text.split("```text")[1].split("```")[0]
    parents: list[str] = []
    on_map = set()
    for line in listed.strip().splitlines():
        name = line.strip().split(" ", 1)[0]
        if not name.endswith("/"):
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        parents = [*parents[:depth], name.rstrip("/")]
        on_map.add("/".join(parents))
    assert {name for name in on_map if not (ROOT / name).is_dir()} == set()
    packages = {
        str(path.parent.relative_to(ROOT))
        for layer in ("domain", "application", "adapters", "entrypoints")
        for path in (ROOT / layer).rglob("__init__.py")
    }
    assert packages <= on_map
