"""Requests that schemathesis generates: none makes the server fail, and errors have one shape."""

import json
from pathlib import Path

import pytest

from litgpt import LLM
from tests.adapters.tiny_models import tiny_folder
from tests.clients.environments import python_of, run_program
from tests.clients.openapi import openapi

CHECKS = "not_a_server_error,response_schema_conformance,content_type_conformance"


@pytest.mark.clients
def test_no_request_makes_the_server_fail(tmp_path: Path) -> None:
    description = tmp_path / "openapi.json"
    description.write_text(json.dumps(openapi()), encoding="utf-8")
    program = str(python_of("schemathesis").with_name("schemathesis"))
    with (
        LLM.load(tiny_folder("llama"), quiet=True) as llm,
        llm.serve(port=0, block=False, name="tiny") as server,
    ):
        command = [program, "run", str(description), "--url", server.url, "--checks", CHECKS]
        options = ["--max-examples", "30", "--max-time", "120", "--seed", "1", "--request-timeout", "60"]
        phases = ["--phases", "coverage,fuzzing", "--generation-database", "none", "--no-shrink"]
        ended = run_program([*command, *options, *phases, "--warnings", "off"], "")
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
