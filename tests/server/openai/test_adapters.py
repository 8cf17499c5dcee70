"""LoRA adapters, which requests select by the name of the model."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from openai import NotFoundError, OpenAI

from litgpt import LLM
from tests.agreement.test_native_lora import save_random_adapter
from tests.server.openai.conftest import NAME

QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    folder: Path = tmp_path_factory.mktemp("adapter")
    with LLM.load("smollm2", quiet=True) as llm:
        save_random_adapter(llm, folder)
    with LLM.load("smollm2", quiet=True) as llm:
        llm.load_adapter(folder, "tuned")
        llm.set_adapter(None)
        yield llm


@pytest.fixture(scope="module")
def client(tuned: LLM) -> Iterator[OpenAI]:
    with tuned.serve(port=0, block=False, name=NAME) as server:
        yield OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def test_a_request_selects_an_adapter(client: OpenAI, tuned: LLM) -> None:
    def ask(model: str) -> str | None:
        answer = client.chat.completions.create(model=model, messages=QUESTION, temperature=0, max_tokens=12)
        assert answer.model == model
        return answer.choices[0].message.content

    models = [NAME, f"{NAME}:tuned", NAME, f"{NAME}:tuned"]
    with ThreadPoolExecutor(4) as pool:  # in one batch
        texts = list(pool.map(ask, models))
    base = tuned.generate(QUESTION, temperature=0, max_new_tokens=12)
    other = tuned.generate(QUESTION, temperature=0, max_new_tokens=12, adapter="tuned")
    assert base != other
    assert texts == [base, other, base, other]


def test_adapters_are_listed_with_their_base(client: OpenAI) -> None:
    models = client.models.list().data
    assert [model.id for model in models] == [NAME, f"{NAME}:tuned"]
    assert [model.to_dict()["parent"] for model in models] == [None, NAME]
    with pytest.raises(NotFoundError, match="smollm2:tuned"):
        client.chat.completions.create(model=f"{NAME}:other", messages=QUESTION)
