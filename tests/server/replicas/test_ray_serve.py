"""The deployment for Ray Serve, where Ray is installed."""

import http.client
import json
import socket
import urllib.request
from importlib.util import find_spec

import pytest

from litgpt.domain.errors import InvalidArgument, NotInstalled
from litgpt.ray_serve import LLMDeployment, app
from litgpt.server.key_file import VARIABLE
from tests.adapters.tiny_models import tiny_folder

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs ray")


@pytest.mark.skipif(find_spec("ray") is not None, reason="ray is installed")
def test_a_missing_package_is_named_with_the_command() -> None:
    with pytest.raises(NotInstalled, match=r'pip install "litgpt\[ray\]"'):
        app({"model": "smollm2"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "model must be"),
        ({"model": "m", "gpu": "1"}, "gpu must be"),
        ({"model": "m", "cpus": "x"}, "cpus must"),
        ({"model": "m", "replicas": "0"}, "replicas must"),
    ],
)
def test_arguments_are_checked_before_the_model_is_loaded(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        app(arguments)


@pytest.mark.parametrize("keys", ["", "a-key"])
def test_a_folder_gives_the_model_its_name_and_a_server_without_keys_is_warned_of(
    keys: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LITGPT_NUM_THREADS", "1")
    monkeypatch.delenv(VARIABLE, raising=False)
    if keys:
        monkeypatch.setenv(VARIABLE, keys)
    folder = tiny_folder("llama")
    deployment = LLMDeployment(f"{folder}/", 1)
    assert deployment._context.model.name == folder.name
    assert ("Everyone who reaches Ray's port" in caplog.text) == (not keys)


@needs_ray
@pytest.mark.slow
def test_two_copies_of_a_model_answer_and_stream() -> None:
    import ray
    from ray import serve

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ray.init(num_cpus=4, include_dashboard=False)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(app({"model": "smollm2", "replicas": "2"}))
        with _post(port, stream=False) as reply:
            assert json.load(reply)["model"] == "smollm2"
        with _post(port, stream=True) as reply:
            assert reply.headers["content-type"].startswith("text/event-stream")
            assert reply.read().endswith(b"data: [DONE]\n\n")
    finally:
        serve.shutdown()
        ray.shutdown()


def _post(port: int, *, stream: bool) -> "http.client.HTTPResponse":
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "stream": stream}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    reply = urllib.request.urlopen(request, timeout=300)  # noqa: S310 - the server above
    assert isinstance(reply, http.client.HTTPResponse)
    return reply
