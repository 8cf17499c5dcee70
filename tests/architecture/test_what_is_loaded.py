"""Tests of the modules that importing a part of the library loads, each in a new interpreter."""

import subprocess
import sys

import pytest

from tests.architecture.repository import ROOT

HEAVY = frozenset(
    {
        *("torch", "lightning", "numpy", "huggingface_hub", "tokenizers", "sentencepiece", "transformers"),
        *("decimal", "importlib.metadata", "psutil", "pydantic", "rich", "secrets", "starlette", "uvicorn"),
    }
)

OTHER_SUBJECTS = frozenset(
    {
        *("litgpt.application.benchmark", "litgpt.application.scoring.score_text", "litgpt.domain.benchmark"),
        *("litgpt.domain.scoring.request", "litgpt.domain.scoring.results"),
        *("litgpt.domain.lora.config", "litgpt.domain.lora.weight_changes", "litgpt.adapters.native.lora"),
        *("litgpt.domain.tool_calls.parser", "litgpt.domain.constraints.reasoning"),
        *("litgpt.domain.constraints.record_types", "litgpt.domain.chat.google_docstring"),
        *("litgpt.domain.memory.training_estimate", "litgpt.adapters.native.sampling.scorer"),
    }
)
"""Modules of other subjects than generation. A class of attrs takes half a millisecond to define."""

IMPORT_ALL = """
from importlib import import_module
from pkgutil import walk_packages

def import_all(name):
    package = import_module(name)
    for module in walk_packages(package.__path__, name + "."):
        if not module.name.endswith(".__main__"):  # which is there to be run
            import_module(module.name)
"""


def loaded_by(code: str, among: frozenset[str] = HEAVY) -> set[str]:
    """Run Python code and return the names of the heavy libraries, or of other modules, that it loaded."""
    report = f"import sys; print('loaded:', *sorted({set(among)!r} & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", f"{IMPORT_ALL}\n{code}\n{report}"],
        cwd=ROOT,
        input="Hello",
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return set(run.stdout.splitlines()[-1].split()[1:])


def test_the_check_detects_loaded_libraries() -> None:
    assert "numpy" in loaded_by("import numpy")


@pytest.mark.parametrize("layer", ["litgpt.domain", "litgpt.application"])
def test_the_inside_loads_nothing_heavy(layer: str) -> None:
    assert loaded_by(f"import_all('{layer}')") == set()


def test_importing_litgpt_loads_nothing_heavy() -> None:
    assert loaded_by("import litgpt; dir(litgpt)") == set()


def test_the_wiring_loads_nothing_heavy() -> None:
    assert loaded_by("import litgpt.container") == set()


def test_the_command_line_loads_nothing_heavy_until_a_command_runs() -> None:
    assert loaded_by("import_all('litgpt.cli')") == set()


def test_the_command_line_shows_its_help_without_defining_values() -> None:
    assert loaded_by("import litgpt.cli.main", frozenset({"attr"})) == set()


@pytest.mark.parametrize("package", ["checkpoints", "hub", "native", "tokenization"])
def test_these_adapters_import_torch_only_to_read_tensors(package: str) -> None:
    assert not {"torch", "lightning", "transformers"} & loaded_by(f"import_all('litgpt.adapters.{package}')")


@pytest.mark.parametrize("options", [("generate", "smollm2", "Hello"), ("chat", "smollm2")])
@pytest.mark.parametrize("precision", [(), ("--precision", "32-true")])
def test_the_native_engine_generates_without_these_libraries(
    options: tuple[str, ...], precision: tuple[str, ...]
) -> None:
    arguments = [*options, "--max-new-tokens", "2", "--top-k", "1", *precision]
    loaded = loaded_by(f"from litgpt.cli.main import run; assert run({arguments!r}) == 0")
    assert loaded == {"numpy", "tokenizers"}


def test_an_llm_generates_without_these_libraries() -> None:
    code = """
from litgpt import LLM
with LLM.load("smollm2", quiet=True) as llm:
    assert llm.generate("Hello", max_new_tokens=2)
    assert list(llm.generate(["Hello", "Good"], max_new_tokens=2, stream=True))
    assert llm.complete("Hello", max_new_tokens=2).token_ids
    assert llm.chat(max_new_tokens=2).send("Hello")
    assert llm.config.n_layer == 30 and llm.tokenizer.vocab_size and llm.preprocessor.device == "cpu"
    assert llm.arithmetic and repr(llm) and not hasattr(llm, "_repr_html_")
"""
    assert loaded_by(code) == {"numpy", "tokenizers"}


def test_an_llm_generates_without_modules_of_other_subjects() -> None:
    import_them = f"for name in {set(OTHER_SUBJECTS)}: __import__(name)"
    assert loaded_by(import_them, OTHER_SUBJECTS) == OTHER_SUBJECTS
    code = """
from litgpt import LLM
with LLM.load("smollm2", quiet=True) as llm:
    assert llm.generate("Hello", max_new_tokens=2)
"""
    assert loaded_by(code, OTHER_SUBJECTS) == set()


def test_the_tests_of_the_inside_run_without_torch() -> None:
    arguments = ["-q", "-p", "no:cacheprovider", "tests/domain", "tests/application"]
    run_them = f"import pytest; assert pytest.main({arguments!r}) == 0"
    assert not {"torch", "lightning", "transformers"} & loaded_by(run_them)
