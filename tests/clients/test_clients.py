"""Real clients with a real server, each in an environment of its own."""

import json
import shutil
import subprocess
from collections.abc import Iterator
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


@pytest.mark.parametrize("tokenized", [True, False])
def test_lm_eval_gets_the_scores_of_the_library(
    context: dict[str, Any], llm: LLM, *, tokenized: bool
) -> None:
    task = {**context, "rows": ROWS, "folder": str(HOME / "model"), "tokenized": tokenized}
    program = HERE / "programs" / "lm_eval_client.py"
    ended = run_program([str(python_of("lm_eval")), str(program)], json.dumps(task))
    check(ended)
    result = json.loads(ended.stdout.rpartition("RESULT ")[2])
    assert len(result["pairs"]) == 2 * len(ROWS)
    best = []
    for row, (first, second) in zip(ROWS, _pairs_of(result["pairs"]), strict=True):
        scores = llm.score(first[0], [first[1], second[1]])
        assert [first[2], second[2]] == pytest.approx([it.logprob for it in scores], abs=1e-4)
        best.append((scores[1].logprob > scores[0].logprob) == row["label"])
    assert result["acc"] == pytest.approx(sum(best) / len(best))


def _pairs_of(items: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(items[::2], items[1::2], strict=True))


ROWS: list[dict[str, Any]] = [
    {"goal": "keep soup warm", "sol1": "pour it into a thermos", "sol2": "pour it into a sieve", "label": 0},
    {"goal": "cut a thick rope", "sol1": "use a spoon", "sol2": "use a sharp knife", "label": 1},
    {"goal": "dry wet shoes", "sol1": "fill them with paper", "sol2": "fill them with water", "label": 0},
    {"goal": "see in the dark", "sol1": "close both eyes", "sol2": "switch on a lamp", "label": 1},
]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_streams_an_answer(context: dict[str, Any]) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}], "temperature": 0}
    body |= {"max_tokens": 24, "stream": True}
    command = ["curl", "--silent", "--show-error", "--no-buffer", "--fail-with-body", "--data", "@-"]
    headers = ["-H", f"Authorization: Bearer {KEY}", "-H", "Content-Type: application/json"]
    ended = run_program([*command, *headers, f"{context['url']}/v1/chat/completions"], json.dumps(body))
    check(ended)
    *events, done = [line.removeprefix("data: ") for line in ended.stdout.split("\n") if line]
    assert done == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events]
    assert "".join(delta.get("content") or "" for delta in deltas) == context["answer"]
    refused = run_program([*command, headers[2], headers[3], f"{context['url']}/v1/models"], "{}")
    assert refused.returncode == 22  # curl's status for an error of HTTP
    assert json.loads(refused.stdout)["error"]["code"] == "invalid_api_key"
