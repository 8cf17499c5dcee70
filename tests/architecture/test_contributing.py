"""Tests of the guides in CONTRIBUTING.md: their code runs, and they name the files to change."""

import re
import tokenize
import tomllib
from typing import Any

import pytest

from litgpt.domain.families.starcoder2 import STARCODER2
from litgpt.llm_parts.generate_kwargs import NamedKwargs
from litgpt.testing import MemoryCheckpoint
from tests.architecture.repository import ROOT, files

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:docs|domain|application|adapters|entrypoints|tests)/[\w./]*)`", TEXT)))


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def code(title: str, language: str = "python") -> str:
    return section(title).split(f"```{language}\n")[1].split("```")[0]


def run(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(source, names)  # noqa: S102 - a document of this repository
    return names


@pytest.mark.parametrize("name", NAMED)
def test_a_named_file_exists(name: str) -> None:
    assert (ROOT / name).exists()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("FAMILIES", "domain/families/registry.py"),
        ("VARIANTS", "tests/agreement/models.py"),
        ("TEXT_MODEL_TYPES", "domain/families/multimodal.py"),
        ("unsupported_settings", "domain/families/schema/family.py"),
        ("WeightMapping", "domain/weights/mapping.py"),
        ("model_sampling_params", "domain/generation/sampling_params.py"),
        ("GenerationOptions", "application/generation_options.py"),
        ("_sample_rows", "adapters/pytorch/generation/sampler.py"),
        ("NamedKwargs", "entrypoints/library/llm_parts/generate_kwargs.py"),
        ("ModelStoreContract", "tests/contracts/model_store.py"),
        ("DistributionStrategyContract", "tests/contracts/distribution_strategy.py"),
        ("GeneratorContract", "tests/contracts/generator.py"),
        ("resolve_placement", "domain/distribution/placement.py"),
    ],
)
def test_a_name_is_defined_in_the_file_that_the_guide_names(name: str, path: str) -> None:
    assert f"`{name}`" in TEXT
    source = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^\s*(?:class |def )?{name}\b.*[:=(]", source, re.MULTILINE)


def test_the_family_of_the_guide_is_the_family_of_the_library() -> None:
    assert run(code("Add a model family"))["STARCODER2"] == STARCODER2


def names_in(path: str) -> set[str]:
    """Return all names in a Python file: variables, arguments, attributes and keywords."""
    with (ROOT / path).open("rb") as file:
        return {token.string for token in tokenize.tokenize(file.readline) if token.type == tokenize.NAME}


def test_generate_does_not_list_an_option_that_it_takes_by_name() -> None:
    assert {"seed", "stop", "tools"} <= NamedKwargs.__annotations__.keys()
    listed = names_in("entrypoints/library/llm_parts/generation.py")
    assert not listed & NamedKwargs.__annotations__.keys()


def test_a_sampling_parameter_touches_the_files_of_the_guide_alone() -> None:
    folders = ("domain", "application", "adapters", "entrypoints/library")
    library = [str(path.relative_to(ROOT)) for path in files(*folders, suffix=".py")]
    named = re.findall(r"`([\w/]+\.py)`", section("Add a sampling parameter"))
    examples = {"top_p", "repetition_penalty"}
    assert {path for path in library if examples & names_in(path)} == set(named) & set(library)
    assert len(re.findall(r"^\d\. ", section("Add a sampling parameter"), re.MULTILINE)) == 4


def test_a_backend_is_swapped_as_the_guide_does() -> None:
    checkpoint = run(code("Swap a backend"))["checkpoint"]
    assert isinstance(checkpoint, MemoryCheckpoint)
    assert checkpoint.name == "mine"


def test_the_entry_point_group_is_the_one_that_the_container_reads() -> None:
    (group,) = tomllib.loads(code("Add a store", "toml"))["project"]["entry-points"]
    container = (ROOT / "entrypoints" / "library" / "container.py").read_text(encoding="utf-8")
    assert f'entry_points(group="{group}")' in container
