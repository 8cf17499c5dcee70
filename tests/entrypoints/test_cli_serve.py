"""`litgpt serve`: its options, what it says at its start, and how it ends."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from litgpt.cli.main import run
from litgpt.server import listening
from litgpt.server.listening import listen
from litgpt.server.settings import ServerSettings

NO_MODEL = "no-such-model"
"""Errors come before the model is looked for."""


@contextmanager
def served(
    *options: str, model: str = "smollm2", **variables: str
) -> Iterator[tuple["subprocess.Popen[str]", list[str]]]:
    """Serve a model in a process, and yield it with the lines of its start."""
    command = [sys.executable, "-m", "litgpt.cli", "serve", model, "--port", "0", *options]
    with subprocess.Popen(
        command, text=True, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"} | variables
    ) as process:
        assert process.stderr is not None
        try:
            lines = []
            for line in process.stderr:
                lines.append(line.rstrip())
                if "Ctrl+C" in line:
                    break
            yield process, lines
        finally:
            process.kill()


def url_in(lines: list[str]) -> str:
    match = re.search(r"https?://\S+", "\n".join(lines))
    assert match is not None, lines
    return match[0]


def test_openais_client_uses_a_server_until_it_is_stopped() -> None:
    with served(LITGPT_API_KEYS="sk-one,sk-two") as (process, lines):
        url = url_in(lines)
        assert any("256 requests at a time" in line for line in lines)
        with pytest.raises(openai.AuthenticationError, match="API key"):
            openai.OpenAI(base_url=f"{url}/v1", api_key="sk-wrong", max_retries=0).models.list()
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="sk-two", max_retries=0)
        with pytest.raises(openai.BadRequestError) as invalid:
            client.completions.create(model="smollm2", prompt="Hi", temperature=-1)
        assert invalid.value.param == "temperature"
        with pytest.raises(openai.NotFoundError) as missing:
            client.completions.create(model="gpt-9", prompt="Hi")
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as long:
            client.completions.create(model="smollm2", prompt="word " * 9000)
        assert long.value.code == "context_length_exceeded"
        stream = client.chat.completions.create(
            model="smollm2",
            messages=[{"role": "user", "content": "Count to ten."}],
            max_tokens=40,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        chunks = iter(stream)
        next(chunks)
        process.send_signal(signal.SIGTERM)  # the answer is finished first
        assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "length"
        _, log = process.communicate(timeout=120)
        assert process.returncode == 0
        assert "POST /v1/chat/completions 200" in log
        assert "Traceback" not in log
        assert "sk-" not in log
        with pytest.raises(openai.APIConnectionError):
            client.models.list()


def test_a_port_in_use_is_an_error_before_the_model_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with listen(ServerSettings(port=0)) as listener:
        port = listener.getsockname()[1]
        assert run(["serve", NO_MODEL, "--port", str(port)]) == 1
    assert f"or pass another port, such as --port {port + 1}." in capsys.readouterr().err


def test_missing_packages_are_an_error_before_the_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listening, "find_spec", lambda _: None)
    assert run(["serve", NO_MODEL, "--port", "0"]) == 1
    assert 'Run: pip install "litgpt[serve]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--port", "70000"], 1, "--port must be an integer from 0 to 65535"),
        (["--host", "http://x"], 1, "--host must be an address or a name of this machine"),
        (["--cors", "example.com"], 1, "--cors must be origins such as"),
        (["--allowed-host", "a:1"], 1, "--allowed-host must be host names"),
        (["--tls-key", "key.pem"], 1, "--tls-key must be omitted, or passed together with --tls-cert"),
        (["--tls-cert", "gone.pem"], 1, "gone.pem is missing"),
        (["--api-key-file", "gone"], 1, "gone is missing: it should have the API keys"),
        (["--max-queue", "-1"], 1, "--max-queue must be a non-negative integer"),
        (["--timeout", "-1"], 1, "--timeout must be"),
        (["--stream", "perhaps"], 2, "'perhaps' is neither true nor false"),
        (["--openai_spec", "true", "--api_path", "/predict"], 2, "OpenAI's API has its own paths"),
        (["--api_path", "predict"], 2, "--api-path must be a path such as /predict"),
    ],
)
def test_options_are_checked_before_the_model_is_loaded(
    options: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", NO_MODEL, "--port", "0", *options]) == status
    assert message in " ".join(capsys.readouterr().err.split())


def test_an_empty_variable_does_not_open_the_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LITGPT_API_KEYS", "")
    assert run(["serve", NO_MODEL, "--port", "0"]) == 1
    assert "LITGPT_API_KEYS must be one or more keys" in capsys.readouterr().err


def test_a_key_file_that_others_can_read_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys"
    path.write_text("sk-one")
    path.chmod(0o644)
    assert run(["serve", NO_MODEL, "--port", "0", "--offline", "--api-key-file", str(path)]) == 1
    err = capsys.readouterr().err
    assert f"WARNING: {path} has API keys, but other users can read it. Run: chmod 600 {path}" in err
    assert "sk-one" not in err


@pytest.mark.parametrize(
    "flags",
    [
        "--openai_spec true --stream false --api_path /v1/chat/completions --timeout 30 --devices 1",
        "--openai_spec false --stream true --api_path /api/predict",
    ],
)
def test_flags_of_litgpt_are_accepted(flags: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", NO_MODEL, "--port", "0", "--offline", *flags.split()]) == 1
    assert f"There is no model '{NO_MODEL}'" in capsys.readouterr().err
