"""`litgpt chat --url`: the chat as a client of a server."""

import inspect
import io
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response

from litgpt import LLM
from litgpt.application.generation_options import GenerationOptions
from litgpt.cli.chat import chat as chat_command
from litgpt.cli.main import run
from litgpt.cli.remote import answer
from litgpt.cli.remote.chat import request_body
from litgpt.cli.remote.errors import refused
from litgpt.cli.repl.chat_settings import PARAMETERS
from litgpt.server.run import start_in_thread
from litgpt.server.settings import ServerSettings
from tests.server.chat_client.scripted_server import DONE, Script, delta, scripted

QUESTION = "What is the capital of France?"


def talk(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    url: str,
    *lines: str,
    options: Any = (),
) -> tuple[int, str, str]:
    """Run a chat through a pipe; return the exit status, stdout and stderr."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    status = run(["chat", "--url", url, *options])
    output = capsys.readouterr()
    return status, output.out, output.err


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    return lambda url, *lines, **options: talk(monkeypatch, capsys, url, *lines, **options)


def refusal(status: int, message: str, code: str | None = None, **headers: str) -> Response:
    error = {"message": message, "type": "t", "param": None, "code": code}
    return JSONResponse({"error": error}, status, {k.replace("_", "-"): v for k, v in headers.items()})


@pytest.fixture(scope="module")
def llm_url() -> Any:
    with LLM.load("smollm2", quiet=True) as llm, llm.serve(port=0, block=False, api_keys=["sk-1"]) as server:
        expected = llm.chat(temperature=0, max_new_tokens=24)
        yield server.url, [expected.send(QUESTION), expected.send("And of Italy?")]


def test_a_conversation_is_that_of_the_model(
    chat: Any, llm_url: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, answers = llm_url
    monkeypatch.setenv("LITGPT_API_KEY", "sk-1")
    saved = tmp_path / "talk.json"
    greedy = ("--temperature", "0", "--max-new-tokens", "24")
    status, out, _ = chat(url, QUESTION, "And of Italy?", f"/save {saved}", options=greedy)
    assert (status, out) == (0, "".join(f"{answer}\n" for answer in answers))
    messages = json.loads(saved.read_text(encoding="utf-8"))["messages"]
    assert [it["content"] for it in messages if it["role"] == "assistant"] == answers
    status, out, err = chat(url, f"/load {saved}", "/undo", "And of Italy?", "/show", options=greedy)
    assert (status, out) == (0, f"{answers[1]}\n")
    assert "(Removed the last message and its answer.)" in err
    assert f"server: {url}" in err
    assert "top_k: 50\n" in err  # the default of the model, which the server tells


def test_a_key_is_needed_and_checked(chat: Any, llm_url: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LITGPT_API_KEY", raising=False)
    status, _, err = chat(llm_url[0], "Hi")
    assert (status, err) == (
        1,
        "error: The server needs an API key. Pass its key with --api-key or in LITGPT_API_KEY.\n",
    )
    status, _, err = chat(llm_url[0], "Hi", options=("--api-key", "wrong"))
    assert status == 1
    assert "The server does not accept the API key." in err
    assert "wrong" not in err


def test_another_model_is_not_found(chat: Any, llm_url: Any) -> None:
    status, _, err = chat(llm_url[0], "Hi", options=("--api-key", "sk-1", "--model", "smollm3"))
    assert status == 1
    assert "There is no model 'smollm3'. Did you mean" in err


def test_no_server(chat: Any) -> None:
    with socket.create_server(
        ("127.0.0.1", 0)
    ) as bound:  # nobody else gets the port; connections are refused
        port = bound.getsockname()[1]
        bound.shutdown(socket.SHUT_RDWR) if sys.platform != "darwin" else None
        status, _, err = chat(f"http://127.0.0.1:{port}", "Hi")
    assert status == 1
    assert "cannot be reached" in err
    assert "`litgpt serve`" in err


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (
            refusal(429, "The queue is full.", Retry_After="7"),
            "The queue is full. Send the message again in 7 s.",
        ),
        (refusal(429, "The queue is full.", Retry_After="x" * 99), "is full. Send the message again later."),
        (refusal(503, "It is stopping."), "It is stopping. Send the message again later."),
        (refusal(400, "Too long.", "context_length_exceeded"), "Too long. Here, /undo shortens"),
        (refusal(400, "top_k must be at least 1."), "error: top_k must be at least 1."),
        (JSONResponse({"choices": []}), "The server did not send a stream of events."),
    ],
)
def test_refusals_are_sentences_with_the_remedy(chat: Any, response: Response, expected: str) -> None:
    script = Script(response=response)
    with scripted(script) as server:
        status, out, err = chat(server.url, "Hi", "Hi")
    assert status == 1
    assert err.count(expected) == 2
    assert out == ""
    assert [len(it["messages"]) for it in script.requests] == [1, 1]  # the conversation continues without it


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 10**5, b"[]", b'{"error": {"message": 7}}', b"\xff"])
def test_bodies_of_other_servers_are_not_trusted(body: bytes) -> None:
    assert str(refused(500, body, None, has_key=False)) == "The server answered with the status 500."
    missing = str(refused(404, body, None, has_key=False))
    assert missing.endswith("Check that --url is the root of an OpenAI-compatible server.")


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (
            [delta(content="Half "), {"error": {"message": "Out of memory.", "code": None}}],
            "error: Out of memory.",
        ),
        ([delta(content="Half ")], "closed the connection before the end of the answer"),
        ([delta(content="Half "), b"data: {\n\n"], "not in the format of OpenAI's API"),
        ([delta(content="Half "), {"choices": 7}], "not in the format of OpenAI's API"),
        ([delta(content="Half "), b"data: " + b"x" * (2 << 20)], "a line that is too long"),
    ],
)
def test_after_an_error_in_mid_stream_the_message_can_be_sent_again(
    chat: Any, events: Any, expected: str
) -> None:
    script = Script(events)
    with scripted(script) as server:
        status, out, err = chat(server.url, "Hi", "Hi", "/show")
    assert status == 1
    assert out == "Half \nHalf \n"
    assert err.count(expected) == 2
    assert [it["messages"] for it in script.requests] == 2 * [[{"role": "user", "content": "Hi"}]]
    assert "assistant: Half" not in err


def test_an_answer_without_an_end_is_an_error(chat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "MAX_CHARS", 30)
    call = {"index": 0, "function": {"arguments": "x" * 10}}
    pieces = [delta(content="x" * 10), delta(reasoning_content="x" * 10), delta(tool_calls=[call])]
    with scripted(Script([*pieces, DONE])) as server:
        assert chat(server.url, "Hi")[0] == 0
    with scripted(Script([*pieces, *pieces, DONE])) as server:
        status, _, err = chat(server.url, "Hi")
    assert status == 1
    assert "The answer has more than 30 characters. /set max_new_tokens NUMBER limits it." in err


def test_each_setting_is_sent_or_refused() -> None:
    options = attrs.fields_dict(GenerationOptions).keys() & inspect.signature(chat_command).parameters.keys()
    assert set(PARAMETERS) <= options
    refused = {"parse_special_tokens"}  # see test_options_are_checked_before_a_connection
    unsent = {name for name in options if request_body({name: 1}) == request_body({})}
    assert unsent == refused


def test_errors_of_tls_say_what_to_do(chat: Any, tmp_path: Path) -> None:
    key, certificate = tmp_path / "server.key", tmp_path / "server.crt"
    new = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost"
    subprocess.run([*new.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with start_in_thread(Starlette(), ServerSettings(port=0, tls_cert=certificate, tls_key=key)) as server:
        _, _, err = chat(server.url, "Hi")
    assert "its certificate is not trusted (self-signed certificate)" in err
    assert "set the variable SSL_CERT_FILE" in err
    with scripted(Script()) as server:
        _, _, err = chat(server.url.replace("http:", "https:"), "Hi")
    assert "use http:// in --url" in err


def test_reasoning_and_tool_calls_are_shown_and_sent_back(chat: Any) -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    events = [
        b": ping\n\n",
        delta(role="assistant", content=""),
        delta(reasoning_content="Where? "),
        delta(content="Let me look."),
        delta(tool_calls=[call]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"city": '}}]),
        delta("tool_calls", tool_calls=[{"index": 0, "function": {"arguments": '"Rome"}'}}]),
        {"choices": [], "usage": {"completion_tokens": 9}},
        DONE,
    ]
    script = Script(events)
    with scripted(script) as server:
        status, out, _ = chat(server.url, "Weather?", "/tool sunny", options=("--tools", TOOLS))
    assert status == 0
    assert out.startswith('<think>\nWhere? \n</think>\n\nLet me look.\nweather({"city": "Rome"})')
    _, answer, result = script.requests[1]["messages"]
    assert answer["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Rome"}'}
    assert answer["reasoning_content"] == "Where? "
    assert result == {"role": "tool", "content": "sunny", "tool_call_id": "call_1"}
    assert script.requests[0]["tools"] == json.loads(TOOLS)


TOOLS = '[{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]'


def test_settings_and_adapters_are_those_of_the_request(chat: Any) -> None:
    script = Script([delta(content="Yes"), delta("length"), DONE])
    lines = ("Hi", "/adapter poet", "/set top_k none", "/set seed 5", "Hi", "/adapter none", "/adapter x")
    options = ("--temperature", "0.5", "--max-new-tokens", "1", "--sys-prompt", "Be brief.", "--stop", "x")
    with scripted(script) as server:
        _, _, err = chat(server.url + "/v1/", *lines, options=options)
    first, second = script.requests
    assert (first["model"], second["model"]) == ("base", "base:poet")
    assert first["messages"][0] == {"role": "system", "content": "Be brief."}
    assert {"temperature": 0.5, "max_tokens": 1, "stop": ["x"]}.items() <= first.items()
    assert "top_k" not in first
    assert (second["top_k"], second["seed"]) == (0, 5)
    assert "/set max_new_tokens NUMBER raises the limit" in err
    assert "a server loads its own adapters" in err


def test_the_model_can_be_an_adapter(chat: Any) -> None:
    script = Script([delta("stop", content="Yes"), DONE])
    with scripted(script) as server:
        chat(server.url, "Hi", "/tokens", options=("base:poet", "--api-key", "sk-2"))
    assert script.requests[0]["model"] == "base:poet"
    assert script.keys == ["Bearer sk-2"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--quantize", "int8"), "--quantize is for a model on this machine"),
        (("--no-apply-chat-template",), "--no-apply-chat-template is for a model on this machine"),
        (("a", "--model", "b"), "MODEL and --model exclude each other"),
        (("--api-key", "a\nb"), "printable ASCII"),
        (("--temperature", "-1"), "--temperature must be"),
    ],
)
def test_options_are_checked_before_a_connection(chat: Any, options: Any, expected: str) -> None:
    status, _, err = chat("http://127.0.0.1:9", "Hi", options=options)
    assert status in (1, 2)
    assert expected in " ".join(err.split())


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "ftp://a", "http://", "http://a:x", "http://a/?b", "http://a b"]
)
def test_urls_are_checked(chat: Any, url: str) -> None:
    status, _, err = chat(url, "Hi")
    assert status == 1
    assert "--url must be the URL of a server" in err


def test_a_password_in_the_url_is_refused_and_not_shown(chat: Any) -> None:
    status, _, err = chat("http://me:secret@127.0.0.1:9", "Hi")
    assert status == 1
    assert "secret" not in err


def test_neither_torch_nor_numpy_is_imported() -> None:
    script = Script([delta("stop", content="Yes"), DONE])
    program = (
        "import sys; from litgpt.cli.main import run; run(sys.argv[1:]); "
        "sys.exit(bool({'torch', 'numpy', 'tokenizers'} & set(sys.modules)))"
    )
    with scripted(script) as server:
        command = [sys.executable, "-c", program, "chat", "--url", server.url]
        ended = subprocess.run(command, input="Hi\n", capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "Yes\n"), ended.stderr
