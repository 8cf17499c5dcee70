"""Tests of the dependency rules: the contracts of import-linter."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.repository import ROOT, files, lay_out, pyproject

PLANTS = {
    "Dependencies point inward": ("litgpt/domain/generation/sampling_params.py", "import litgpt.adapters"),
    "A facade is for users, not for what is behind it": (
        "litgpt/application/__init__.py",
        "from litgpt import LLM",
    ),
    "The container is for what users call first": (
        "litgpt/llm_parts/base.py",
        "def late():\n    from litgpt.container import container",
    ),
    "Adapters are selected by the container": (
        "litgpt/llm.py",
        "def late():\n    import litgpt.adapters.hub.store",
    ),
    "The inside knows no technology": ("litgpt/application/__init__.py", "def late():\n    import torch"),
    "Adapters do not know each other": (
        "litgpt/adapters/hub/__init__.py",
        "import litgpt.adapters.tokenization",
    ),
    "Dequantization does not know the formats of checkpoints": (
        "litgpt/adapters/checkpoints/quantized/__init__.py",
        "import litgpt.adapters.checkpoints.hf.config_files",
    ),
    "The packages of the domain are layered": (
        "litgpt/domain/chat/styles/prompt_style.py",
        "from litgpt.domain.ports import Tokenizer",
    ),
    "The network does not know what uses it": (
        "litgpt/adapters/pytorch/model/gpt.py",
        "import litgpt.adapters.pytorch.generation.sampler",
    ),
    "torch has its homes": ("litgpt/adapters/tokenization/__init__.py", "def late():\n    import torch"),
    "The native engine does not need torch": (
        "litgpt/adapters/native/__init__.py",
        "def late():\n    import torch",
    ),
    "The Hub has its home": ("litgpt/adapters/checkpoints/__init__.py", "import huggingface_hub"),
    "Tokenizers have their home": ("litgpt/llm.py", "import tokenizers"),
    "Constrained decoding has its home": ("litgpt/llm.py", "import llguidance"),
    "transformers has its home": ("litgpt/adapters/pytorch/model/__init__.py", "import transformers"),
    "HTTP has its home": ("litgpt/llm.py", "def late():\n    import starlette"),
    "The wiring has its home": (
        "litgpt/adapters/pytorch/__init__.py",
        "from dependency_injector import providers",
    ),
    "The terminal has its home": ("litgpt/llm.py", "import typer"),
}


def lint_imports(path: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package `litgpt` in `path`, with the contracts of this repository."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    command += ["--no-logo", "--no-cache", str(ROOT / "pyproject.toml")]
    environment = {**os.environ, "PYTHONPATH": str(path), "COLUMNS": "200"}
    return subprocess.run(command, cwd=path, env=environment, capture_output=True, text=True, check=False)


def test_the_contracts_are_kept(tmp_path: Path) -> None:
    run = lint_imports(lay_out(tmp_path))
    assert run.returncode == 0, run.stdout + run.stderr
    assert "BROKEN" not in run.stdout


def test_there_is_a_plant_for_each_contract() -> None:
    assert {contract["name"] for contract in pyproject()["tool"]["importlinter"]["contracts"]} == set(PLANTS)


@pytest.mark.parametrize("contract", PLANTS)
def test_a_planted_import_breaks_its_contract(contract: str, tmp_path: Path) -> None:
    where, what = PLANTS[contract]
    with (lay_out(tmp_path) / where).open("a", encoding="utf-8") as file:
        file.write(f"\n{what}\n")
    run = lint_imports(tmp_path)
    assert run.returncode == 1, run.stdout + run.stderr
    assert f"{contract} BROKEN" in run.stdout


def imported_packages(source: Path) -> set[str]:
    """Return the top-level names of every import in a file, including those in functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add("." if node.level else str(node.module).partition(".")[0])
    return names


@pytest.mark.parametrize("layer", ["domain", "application"])
def test_the_inside_imports_only_the_standard_library_and_attrs(layer: str) -> None:
    allowed = sys.stdlib_module_names | {"attrs", "litgpt"}
    strangers = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in files(layer, suffix=".py")
        for name in imported_packages(path) - allowed
    }
    assert not strangers
