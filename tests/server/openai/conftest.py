"""A server with a real model, for the tests of the API."""

from collections.abc import Iterator

import pytest
from openai import OpenAI

from litgpt import LLM
from litgpt.server.run import RunningServer

NAME = "smollm2"


@pytest.fixture(scope="session")
def llm() -> Iterator[LLM]:
    with LLM.load("smollm2", quiet=True) as model:
        yield model


@pytest.fixture(scope="session")
def server(llm: LLM) -> Iterator[RunningServer]:
    with llm.serve(port=0, block=False, name=NAME) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: RunningServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as found:
        yield found
