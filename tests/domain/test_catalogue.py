"""The catalogue: short names of well-known repositories."""

import subprocess
import sys

import pytest

from litgpt.domain.catalogue import CatalogueEntry, known, repository_of, similar
from litgpt.domain.families import FAMILIES


def test_a_short_name_stands_for_a_repository() -> None:
    assert repository_of("tiny-llama-1.1b") == "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T"


@pytest.mark.parametrize("name", ["Llama-3-8B", "llama-3-8b", "Meta-Llama-3-8B"])
def test_a_short_name_may_be_the_last_part_of_the_repository_in_any_case(name: str) -> None:
    assert repository_of(name) == "meta-llama/Meta-Llama-3-8B"


def test_a_name_that_nobody_uses_stands_for_nothing() -> None:
    assert repository_of("llama-from-nowhere") is None


def test_entries_are_found_by_a_part_of_their_name_or_repository() -> None:
    assert [entry.name for entry in known("R1-distill-LLAMA")] == [
        "R1-Distill-Llama-8B",
        "R1-Distill-Llama-70B",
    ]
    assert CatalogueEntry("gemma-3-1b-it", "google/gemma-3-1b-it", "gemma3_text") in known("google/")


def test_without_a_text_all_entries_are_known() -> None:
    assert len(known()) > 100


def test_a_misspelt_name_finds_what_was_meant() -> None:
    assert similar("smollm2-135m-instuct")[0] == "SmolLM2-135M-Instruct"
    assert similar("meta-lama/Llama-3.2-1B")[0] == "meta-llama/Llama-3.2-1B"
    assert similar("something else entirely") == ()


def test_each_name_and_each_repository_is_listed_once_whatever_its_case() -> None:
    entries = known()
    assert len({entry.name.casefold() for entry in entries}) == len(entries)
    assert len({entry.repository.casefold() for entry in entries}) == len(entries)


def test_a_name_never_stands_for_another_entrys_repository() -> None:
    assert {entry.name: repository_of(entry.name) for entry in known()} == {
        entry.name: entry.repository for entry in known()
    }


def test_every_repository_has_an_organisation_and_every_family_is_implemented() -> None:
    assert {entry.repository.count("/") for entry in known()} == {1}
    assert {entry.family for entry in known()} <= set(FAMILIES)


def test_the_list_is_read_when_it_is_first_needed() -> None:
    code = (
        "import litgpt.domain.catalogue as c; before = c._entries.cache_info().currsize;"
        "c.known(); print(before, c._entries.cache_info().currsize)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["0", "1"]
