"""`litgpt serve --devices N`: replicas, or the parts of one model."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import Popen
from urllib.request import urlopen

import openai
import pytest

from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.test_cli_batch_devices import is_running, needs_proc, workers
from tests.entrypoints.test_cli_serve import served, url_in
from tests.server.replicas.running_replicas import wait_for

DEVICES = ("--devices", "2", "--accelerator", "cpu")
SPLIT = (*DEVICES, "--generate-strategy", "tensor_parallel")


@contextmanager
def serving(*options: str) -> Iterator[tuple["Popen[str]", list[str], openai.OpenAI]]:
    """Serve a tiny model, and yield the process, what it says, and a client."""
    with (
        served(*options, model=str(tiny_folder("llama"))) as (process, lines),
        openai.OpenAI(base_url=f"{url_in(lines)}/v1", api_key="none", max_retries=0) as client,
    ):
        yield process, lines, client


def complete(client: openai.OpenAI, prompt: str) -> str:
    name = client.models.list().data[0].id
    return client.completions.create(model=name, prompt=prompt, max_tokens=5, temperature=0).choices[0].text


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_replicas_answer_as_one_server_and_end_with_the_command(number: signal.Signals) -> None:
    with serving(*DEVICES) as (process, lines, client):
        assert any("2 replicas, one per device" in line for line in lines)
        assert len({complete(client, "The answer") for _ in range(2)}) == 1
        pids = workers(process)
        assert len(pids) == 2
        process.send_signal(number)
        _, log = process.communicate(timeout=300)
        assert process.returncode == (0 if number == signal.SIGTERM else -number)
        assert log.count("POST /v1/completions 200") == 2
        assert "Traceback" not in log
        wait_for(lambda: not any(is_running(pid) for pid in pids))


@pytest.mark.slow
def test_one_model_over_two_devices_gives_the_answers_of_one() -> None:
    with serving("--accelerator", "cpu", "--precision", "32-true") as (_, _, client):
        expected = complete(client, "The answer")
    with serving(*SPLIT, "--precision", "32-true") as (process, lines, client):
        assert complete(client, "The answer") == expected
        with urlopen(f"{url_in(lines)}/health", timeout=300) as reply:  # noqa: S310 - the server above
            assert reply.status == 200
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=300)
        assert process.returncode == 0
        assert "Traceback" not in log


def test_a_model_that_is_missing_is_an_error_of_the_command() -> None:
    with served(*DEVICES, "--offline", model="no-such-model") as (process, lines):
        assert process.wait(timeout=300) == 1
        assert "no-such-model" in "".join(lines)
