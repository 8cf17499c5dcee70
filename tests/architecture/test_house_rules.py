"""Tests of project rules that no linter checks."""

from pathlib import Path

import pytest

from tests.architecture.repository import FOLDERS, ROOT, SOURCES, files

MOST_LINES = 300
LONGER_FOR_A_REASON: dict[str, str] = {}
"""Files past the limit, and why each is one idea all the same."""

OUR_FILES = [*files(*FOLDERS), *sorted(path for path in ROOT.iterdir() if path.is_file())]


@pytest.mark.parametrize("place", [f"{ROOT}/", f"{Path.home()}/", "/home/", "/Users/"])
def test_no_file_contains_a_machine_specific_path(place: str) -> None:
    def names_it(path: Path) -> bool:
        return path != Path(__file__) and place.encode() in path.read_bytes()

    assert [str(path.relative_to(ROOT)) for path in OUR_FILES if names_it(path)] == []


def test_a_file_holds_one_idea() -> None:
    long = {
        str(path.relative_to(ROOT))
        for path in files(*SOURCES, "benchmarks", suffix=".py")
        if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES
    }
    assert long == set(LONGER_FOR_A_REASON)


def test_no_file_has_a_vague_name() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    assert [path for path in files(*SOURCES, "tests", "benchmarks") if path.stem in vague] == []
