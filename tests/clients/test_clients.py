"""Real clients with a real server. Each is a program in an environment of its own, which asserts what it gets."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from litgpt import LLM
from litgpt.server.run import RunningServer
from tests.clients.environments import HERE, HOME, npm_folder, python_of, run_program
from tests.clients.tool_model import TOOL, tool_model

pytestmark = pytest.mark.clients

KEY, MODEL = "sk-clients", "smollm2"
QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM.load(tool_model(HOME / "model"), quiet=True) as model:
        yield model


@pytest.fixture(scope="module")
def server(llm: LLM) -> Iterator[RunningServer]:
    with llm.serve(port=0, block=False, name=MODEL, api_keys=[KEY]) as running:
        yield running


@pytest.fixture(scope="module")
def context(llm: LLM, server: RunningServer) -> dict[str, Any]:
    answer = llm.generate(QUESTION, temperature=0, max_new_tokens=24)
    return {
        "url": server.url,
        "key": KEY,
        "model": MODEL,
        "question": QUESTION,
        "answer": answer,
        "tool": TOOL,
    }


def check(ended: "subprocess.CompletedProcess[str]") -> None:
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"


@pytest.mark.parametrize("name", ["instructor", "langchain", "litellm", "llama_index"])
def test_python_clients(name: str, context: dict[str, Any]) -> None:
    program = HERE / "programs" / f"{name}_client.py"
    check(run_program([str(python_of(name)), str(program)], json.dumps(context)))


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
@pytest.mark.parametrize("name", ["openai_client", "ai_sdk"])
def test_javascript_clients(name: str, context: dict[str, Any]) -> None:
    check(run_program(["node", str(npm_folder() / f"{name}.mjs")], json.dumps(context)))
