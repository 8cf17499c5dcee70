"""Requests that schemathesis generates from `/openapi.json`: none makes the server fail."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from litgpt import LLM
from litgpt.server.app import create_app
from litgpt.server.run import start_in_thread
from litgpt.server.settings import ServerSettings
from tests.adapters.tiny_models import tiny_folder
from tests.clients.environments import python_of, run_program

CHECKS = "not_a_server_error,response_schema_conformance,content_type_conformance"


@pytest.mark.clients
@pytest.mark.filterwarnings("default")  # as in a server: NumPy may warn of an overflow by an extreme penalty
def test_no_request_makes_the_server_fail(tmp_path: Path) -> None:
    program = str(python_of("schemathesis").with_name("schemathesis"))
    settings = ServerSettings(port=0, max_answer_tokens=4)
    with LLM.load(tiny_folder("llama"), quiet=True) as llm, ExitStack() as stack:
        app = create_app(llm._served_model("tiny"), settings)
        server = stack.enter_context(start_in_thread(app, settings, engine=app.state.litgpt))
        command = [program, "run", f"{server.url}/openapi.json", "--checks", CHECKS]
        options = ["--max-examples", "30", "--max-time", "120", "--seed", "1", "--request-timeout", "60"]
        phases = ["--phases", "coverage,fuzzing", "--generation-database", "none", "--no-shrink"]
        ended = run_program([*command, *options, *phases, "--warnings", "off"], "", folder=tmp_path)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
