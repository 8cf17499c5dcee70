"""Tests of whole runs with planted secrets: none appears in the output."""

import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.adapters.loopback_hub import LoopbackHub, refused_port
from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.small_runs import examples

SECRETS = {
    "HF_TOKEN": "hf_PlantedTokenPlantedToken1234",
    "a token file": "hf_InFile1PlantedTokenPlanted5678",
    "--access-token": "hf_OnTheCommandLinePlanted90",
    "the Hub's password": "geheim-7f3a",
    "the proxy's password": "streng-81cd",
    "a signed address": "5ignaturePlanted",
    "an address as a model": "versteckt-22aa",
}
NAMES = list(SECRETS)
TOKEN, TOKEN_IN_FILE, TOKEN_OPTION, HUB, PROXY, SIGNATURE, MODEL = SECRETS.values()

COMMANDS = """
import json, logging, sys, traceback

logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)  # of every library
from litgpt.cli.main import run

for arguments in json.load(open(sys.argv[1])):
    print("$", arguments[0], file=sys.stderr, flush=True)
    try:
        status = run(arguments)
    except BaseException:
        traceback.print_exc()
        status = 70
    print("status", arguments[0], status, file=sys.stderr, flush=True)
exec(sys.argv[2])
"""

IN_PYTHON = """
import os
from litgpt import LLM
from litgpt.domain.reference import ModelReference
from litgpt.domain.progress import Notice

llm = LLM.load("org/tiny", access_token=os.environ["PLANTED"])
chat = llm.chat(max_new_tokens=2)
print(repr(llm), repr(chat), repr(chat.send("hello")), llm.config)
chat.save("python-chat.json")
llm.save("python-model")
print(ModelReference("org/tiny", token=os.environ["PLANTED"]))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    copytree(tiny_folder("llama"), tmp_path / "hub/org/tiny")
    copytree(tiny_folder("llama"), tmp_path / "hub/org/other")
    query = f"X-Amz-Expires=3600&X-Amz-Signature={SIGNATURE}"
    with LoopbackHub(tmp_path / "hub", signature=query) as running:
        yield running


def with_login(address: str, password: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://ada:{password}@{parts.netloc}"


def run(folder: Path, commands: list[list[str]], python: str = "", **environment: str) -> tuple[str, str]:
    """Return the output of a process that ran these commands, with the log records of every library."""
    (folder / "work").mkdir()
    (folder / "commands.json").write_text(json.dumps(commands))
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    usual = {name: value for name, value in os.environ.items() if name.upper() not in proxies}
    usual |= {"HF_HOME": str(folder / "work/hf"), "OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_XET": "1"}
    usual |= {"HOME": str(folder / "work"), "XDG_CACHE_HOME": str(folder / "work/cache")}
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(folder / "commands.json"), python],
        cwd=folder / "work",
        env=usual | environment,
        input="hello\n/save typed-chat.json\n/exit\n",
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout, done.stderr


def leaks(folder: Path, *texts: str) -> list[str]:
    """Return the secrets in texts or in the files of a folder, and their locations."""
    files = [path for path in (folder / "work").rglob("*") if path.is_file()]
    contents = {str(path): path.read_bytes() for path in files} | {str(path): b"" for path in files}
    contents |= {f"output {number}": text.encode() for number, text in enumerate(texts)}
    contents |= {path: contents[path] + path.encode() for path in contents}
    login = {f"{name}, as a header": _basic(secret) for name, secret in SECRETS.items()}
    return [
        f"{name} in {where}: …{content[max(0, at - 150) : at + 60]!r}"
        for where, content in contents.items()
        for name, secret in (SECRETS | login).items()
        if (at := content.find(secret.encode())) >= 0
    ]


def _basic(password: str) -> str:
    return b64encode(f"ada:{password}".encode()).decode()


def statuses(stderr: str) -> list[str]:
    return [line.removeprefix("status ") for line in stderr.splitlines() if line.startswith("status ")]


def test_whole_runs_write_no_secret(tmp_path: Path, hub: LoopbackHub) -> None:
    data = examples(tmp_path / "data.jsonl", 12)
    train = ["finetune", "org/tiny", "--data", str(data), "--out-dir", "out", "--batch-size", "2"]
    train += ["--max-seq-length", "64", "--save-every", "1", "--tensorboard"]
    short = ["--max-new-tokens", "2"]
    commands = [
        ["download", "org/tiny", "--access-token", TOKEN_OPTION],
        ["generate", "org/tiny", "hello", *short],
        ["info", "org/tiny", "--json"],
        ["list"],
        [*train, "--max-steps", "1"],
        [*train, "--max-steps", "2", "--resume", "last"],
        ["generate", "out/adapter", "hello", *short],
        ["chat", "org/tiny", *short],
        ["convert", "out/adapter", "converted"],
        ["benchmark", "org/tiny", "--prompt", "hello", *short],
    ]
    environment: dict[str, Any] = {
        "HF_TOKEN": TOKEN,
        "PLANTED": TOKEN_OPTION,
        "HF_ENDPOINT": with_login(hub.endpoint, HUB),
        "HTTP_PROXY": with_login(hub.endpoint, PROXY),
    }
    stdout, stderr = run(tmp_path, commands, IN_PYTHON, **environment)
    assert statuses(stderr) == [f"{command[0]} 0" for command in commands], stderr[-3000:]
    assert (tmp_path / "work/typed-chat.json").is_file()
    assert (tmp_path / "work/python-model/config.json").is_file(), stderr[-3000:]
    assert (tmp_path / "work/out/metrics.csv").is_file()
    # The secrets were there to be used, and the log was there to have them in it.
    assert {f"Basic {_basic(HUB)}", f"Basic {_basic(PROXY)}"} <= hub.logins
    assert "HTTP Request" in stderr
    assert "/signed/org/tiny/model.safetensors" in stderr
    assert leaks(tmp_path, stdout, stderr) == []


def test_no_failure_shows_a_secret(tmp_path: Path, hub: LoopbackHub) -> None:
    hub.private["org/other"] = "another token"
    hub.expired = True
    nowhere = refused_port()
    address = f"https://ada:{MODEL}@hub.example"
    token_file = tmp_path / "token"
    token_file.write_text(f"{TOKEN_IN_FILE}\n{TOKEN_IN_FILE}\n")  # huggingface_hub joins the lines
    commands = [
        ["generate", "org/tiny", "hello"],
        ["info", "org/other"],
        ["info", f"{address}/org/tiny?token={TOKEN_OPTION}"],
        ["info", f"ada:{MODEL}@hub.example/org/tiny"],
        ["info", f"https://{TOKEN_OPTION}@huggingface.co/org/{'tiny' * 30}"],
        ["info", "org/tiny", "--access-token", f"{TOKEN_OPTION} {MODEL}"],
        ["info", "org/none", "--access-token", TOKEN_OPTION],
        ["info", "org/tiny", TOKEN_OPTION],
        ["info", "org/tiny", "--acess-token", TOKEN_OPTION],
        ["info", "org/tiny", f"--acess-token={TOKEN_OPTION}"],
        ["finetune", f"{address}/org/tiny", "--data", f"{address}/data.jsonl?{SIGNATURE}"],
        ["finetune", "org/tiny", "--data", f"{address}/data.jsonl?{SIGNATURE}"],
        ["convert", f"{address}/adapter?x={SIGNATURE}", "out"],
        ["generate", "org/tiny", "hello", "--tools", f"{address}/tools.json"],
    ]
    python = f"""
import traceback
from litgpt import LLM
from litgpt.domain.errors import InvalidArgument
for name, how in [
    ("{address}/org/tiny", {{}}), ("org/none", {{"access_token": "{TOKEN_OPTION}"}}),
    ("org/tiny", {{"access_token": "{TOKEN_OPTION}\\n{MODEL}"}}),
    ("org/tiny", {{"access_token": b"{MODEL}"}}),
    ("org/none", {{"tokenizer_dir": "{address}/x"}}), ("org/tiny", {{"revision": "{address}/x"}}),
]:
    try:
        LLM.load(name, **how)
    except Exception as error:
        traceback.print_exc()
        print(type(error).__name__, repr(error), str(error))
    else:
        print("no error")
"""
    stdout, stderr = run(
        tmp_path,
        commands,
        python,
        HF_TOKEN_PATH=str(token_file),
        HF_ENDPOINT=hub.endpoint,  # with a password in it, no token is sent
        HTTP_PROXY=with_login(hub.endpoint, PROXY),
        HTTPS_PROXY=with_login(nowhere, PROXY),
    )
    assert [status.split()[1] in "12" for status in statuses(stderr)] == [True] * len(commands), stderr[
        -3000:
    ]
    assert "no error" not in stdout
    assert len(stdout.splitlines()) >= 6, stderr
    assert f"Bearer {TOKEN_IN_FILE * 2}" in hub.logins
    assert "/signed/org/tiny/" in stderr
    assert leaks(tmp_path, stdout, stderr) == []
