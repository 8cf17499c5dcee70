"""Streams that end before their first or last event: nothing is computed for them any more."""

import asyncio
import json
import logging
import threading
from typing import Any

import attrs
import pytest
from starlette.types import Message

from litgpt.adapters.constraints.llguidance_compiler import LlguidanceCompiler
from litgpt.application.serving.served_model import ServedModel
from litgpt.domain.scheduling.engine import Engine
from litgpt.server.api.predict import PredictRoute
from litgpt.server.app import create_app
from litgpt.server.http.protect import ProtectedApp
from litgpt.server.http.request_record import RequestRecord, record_of
from litgpt.server.settings import ServerSettings
from litgpt.testing import ScriptedGenerator
from litgpt.testing.generators import ScriptedLogits, ScriptedRunner
from tests.server.openai.scripted import loaded

TIMEOUT = 120.0
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 900},
    "/v1/completions": {"prompt": "Hi", "max_tokens": 900},
    "/v1/responses": {"input": "Hi", "max_output_tokens": 900},
    "/predict": {"prompt": "Hi", "max_new_tokens": 900},
}


@attrs.define(eq=False)
class GatedRunner(ScriptedRunner):
    """Computes no step before `gate` is set."""

    gate: threading.Event = attrs.field(factory=threading.Event)

    def step(self, batch: Any, positions: Any = None, adapters: Any = None) -> list[ScriptedLogits]:
        assert self.gate.wait(TIMEOUT)
        return super().step(batch, positions, adapters)


class GatedGenerator(ScriptedGenerator):
    """Answers with 900 tokens once `gate` is set."""

    gate = threading.Event()

    def open(self) -> Engine:
        return Engine(GatedRunner(self, gate=self.gate), self.context)


@attrs.define
class Visit:
    """One request to an app, without a socket, so that the test knows what has been sent.

    Attributes:
        leave_after: The message, counted from 1, after which the client leaves.
        end_after: The message after which the server ends its answers.
    """

    path: str
    leave_after: int | None = None
    end_after: int | None = None
    sent: list[Message] = attrs.field(factory=list)
    record: RequestRecord | None = None
    num_tokens: int = 0
    _has_sent_body: bool = False
    _gone: asyncio.Event = attrs.field(factory=asyncio.Event)
    _protected: Any = None

    async def run(self, **chosen: Any) -> None:
        """Send the request; when it has ended, let the engine compute what it still has to."""
        model, generator = loaded("{{ messages[0].content }}"), GatedGenerator([65], 1024)
        generator.gate = threading.Event()
        compiler = LlguidanceCompiler()
        served = ServedModel(name="tiny", loaded=lambda: model, generator=generator, compiler=compiler)
        settings = ServerSettings(**chosen)
        app = create_app(served, settings, predict=PredictRoute(stream=True))
        self._protected = ProtectedApp(app, settings)
        async with app.router.lifespan_context(app):
            scope = self._scope()
            try:
                await asyncio.wait_for(self._protected(scope, self._receive, self._send), TIMEOUT)
            finally:
                generator.gate.set()
            engine = app.state.litgpt.service.engine
            assert await asyncio.to_thread(engine.drain, TIMEOUT)
            self.num_tokens, self.record = engine.stats().completion_tokens, record_of(scope)

    def _scope(self) -> dict[str, Any]:
        headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": self.path, "raw_path": self.path.encode()}
        scope |= {"headers": headers, "query_string": b"", "scheme": "http", "http_version": "1.1"}
        return scope | {"server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "root_path": ""}

    async def _receive(self) -> Message:
        if not self._has_sent_body:
            self._has_sent_body = True
            body = BODIES[self.path] | ({} if self.path == "/predict" else {"stream": True})
            return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)
        if len(self.sent) == self.leave_after:
            self._gone.set()
            await asyncio.Event().wait()  # the client reads nothing, and all buffers are full
        if len(self.sent) == self.end_after:
            self._protected.admission.end()

    @property
    def text(self) -> str:
        return b"".join(it.get("body", b"") for it in self.sent).decode()


@pytest.mark.parametrize("path", BODIES)
def test_a_client_that_leaves_before_the_first_event_ends_its_answer(path: str) -> None:
    visit = Visit(path, leave_after=1)
    asyncio.run(visit.run())
    assert visit.num_tokens <= 1  # of the step in which it was cancelled
    assert visit.record is not None
    assert visit.record.is_abandoned
    assert visit.record.queue_seconds is not None


def test_a_client_that_does_not_read_the_first_event_and_leaves_ends_its_answer() -> None:
    visit = Visit("/v1/responses", leave_after=2)
    asyncio.run(visit.run())
    assert visit.num_tokens <= 1


def test_a_response_that_the_server_ends_is_failed() -> None:
    visit = Visit("/v1/responses", end_after=2)
    asyncio.run(visit.run())
    event, data = visit.text.strip().split("\n\n")[-1].split("\n")
    assert event == "event: response.failed"
    assert "The server stopped" in json.loads(data.removeprefix("data: "))["response"]["error"]["message"]
    assert visit.num_tokens <= 1


def test_an_answer_that_takes_too_long_is_not_a_fault_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    visit = Visit("/v1/completions")
    with caplog.at_level(logging.ERROR, "litgpt.server.error"):
        asyncio.run(visit.run(request_timeout=0.1))
    assert "Ask for fewer tokens." in visit.text
    assert "stream the answer" not in visit.text
    assert not caplog.records
