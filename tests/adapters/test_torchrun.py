"""Tests of ranks started by torchrun, on one machine or two: one model, one output."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from litgpt import LLM
from litgpt.cli.main import run
from tests.adapters.tiny_models import tiny_folder

SCRIPT = """
import os, sys
from litgpt import LLM
from litgpt.adapters.pytorch.generation import generator
from litgpt.domain.generation.request import GenerationRequest
llm = LLM.load({model!r}, distribute=None, quiet=True)
llm.distribute(accelerator="cpu", generate_strategy="tensor_parallel", precision="32-true")
assert llm.devices == 2
said = [
    llm.generate(["hello", "a longer prompt"], max_new_tokens=8, top_k=1),
    llm.generate("drawn", max_new_tokens=12, temperature=1.5),
]
generator.MAX_SEQUENCES = 2  # the third prompt joins the batch when another is answered
requests = [GenerationRequest(prompt=range(5, 9 + at), max_new_tokens=2 + 4 * at) for at in range(4)]
said += [(event.index, event.token) for event in llm._generator().generate(requests)]
llm.save({folder!r} + "/saved")
assert os.path.exists({folder!r} + "/saved/config.json")  # at every rank, when it returns
try:
    llm.save({folder!r} + "/script.py/saved")  # where there is no room for a folder
except RuntimeError as error:
    print(error, file=sys.stderr)
else:
    raise AssertionError("saved in a file")
open({folder!r} + "/" + os.environ["RANK"], "w").write(repr(said))
llm.distribute(accelerator="cpu", generate_strategy="tensor_parallel", devices=2)
try:
    llm.distribute(accelerator="cpu", generate_strategy="tensor_parallel", devices=3)
except ValueError as error:
    assert "that torchrun started" in str(error), error
"""
LONG = 300.0
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")


@pytest.fixture
def port() -> Iterator[int]:
    """Return a free port, reserved for the duration of the test."""
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(model=str(tiny_folder("llama")), folder=str(tmp_path)))
    return path


def expected() -> list[str]:
    llm = LLM.load(tiny_folder("llama"), distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true")
    return llm.generate(["hello", "a longer prompt"], max_new_tokens=8, top_k=1)


def check(folder: Path) -> None:
    first, second = ((folder / str(rank)).read_text() for rank in (0, 1))
    assert first == second  # also samples without a seed
    assert first.startswith(repr([expected()])[:-1])
    llm = LLM.load(tiny_folder("llama"), distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true")
    llm.save(folder / "one")
    saved = [(folder / name / "model.safetensors").read_bytes() for name in ("saved", "one")]
    assert saved[0] == saved[1]


def test_the_ranks_of_one_machine_are_taken_as_they_are(script: Path) -> None:
    command = [*TORCHRUN, "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(command, check=True, timeout=LONG, stderr=subprocess.PIPE, text=True)
    check(script.parent)
    assert done.stderr.count("Choose a writable folder") == 1
    assert done.stderr.count("rank 0 failed") == 1


def test_two_machines_work_together(script: Path, port: int) -> None:
    where = f"--master-addr=127.0.0.1 --master-port={port} --nnodes=2 --nproc-per-node=1".split()
    nodes = [
        subprocess.Popen(
            [*TORCHRUN, *where, f"--node-rank={node}", f"--local-addr=127.0.0.{node + 1}", script]
        )
        for node in range(2)
    ]
    assert [node.wait(LONG) for node in nodes] == [0, 0]
    check(script.parent)


LOSING = """
import os, signal, sys, time
from dependency_injector import providers
from litgpt import LLM
from litgpt.adapters.pytorch.distribution.strategy import TorchStrategy
from litgpt.adapters.pytorch.distribution.tensor_parallel.strategy import TensorParallel
from litgpt.container import container
from litgpt.domain.generation.errors import WorkerLost

container.strategy.override(providers.Object(TorchStrategy(lambda: TensorParallel(step_timeout={deadline}))))
llm = LLM.load({model!r}, distribute=None, quiet=True)
llm.distribute(accelerator="cpu", generate_strategy="tensor_parallel")
begun = time.monotonic()
try:
    for at, _ in enumerate(llm.generate("x", stream=True, max_new_tokens=200, top_k=1)):
        begun = time.monotonic()
        if at == 3 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.{how})
except WorkerLost as error:
    print(time.monotonic() - begun, error, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot stop a process")
@pytest.mark.parametrize(("method", "deadline", "least"), [("SIGKILL", LONG, 0.0), ("SIGSTOP", 4.0, 3.0)])
def test_a_killed_rank_is_an_error_at_once_and_a_hanging_one_at_the_timeout(
    method: str, deadline: float, least: float, port: int
) -> None:
    code = LOSING.format(model=str(tiny_folder("llama")), how=method, deadline=deadline)
    where = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    first, second = (
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**where, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    )
    try:
        output, _ = first.communicate(timeout=LONG)
    finally:
        for value in (first, second):
            value.kill()
            value.communicate()
    # Rarely, a Gloo thread aborts a process that has already reported the error and is about to exit.
    assert first.returncode in (0, -signal.SIGABRT)
    seconds, _, error = output.partition(" ")
    assert error.startswith("A worker process of the model is gone"), output
    assert "Restart all ranks." in error
    assert least <= float(seconds) < LONG


def test_only_one_rank_prints_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    model = str(tiny_folder("llama"))
    command = ("generate", model, "--prompt", "hello", "--top-k", "1", "--max-new-tokens", "5")
    assert run(command) == 0
    start = (*TORCHRUN, "--standalone", "--nproc-per-node=2", "-m", "litgpt.cli")
    ranks = subprocess.run([*start, *command], capture_output=True, text=True, check=True, timeout=LONG)
    assert ranks.stdout == capsys.readouterr().out
    assert ranks.stderr.count("Using the native engine (") == 1
