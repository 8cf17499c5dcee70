"""Tests of the engine through `LLM`, on the real model: threads, asyncio, shared prefixes, the guide."""

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from litgpt import LLM
from litgpt.domain.errors import InvalidArgument, PromptTooLong
from litgpt.domain.generation.request import GenerationRequest
from tests.architecture.repository import ROOT

GUIDE = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")
QUESTIONS = [f"What is {number} plus one?" for number in range(12)]
OPTIONS: dict[str, Any] = {"temperature": 0, "max_new_tokens": 8}
LONG = "word " * 6000


@pytest.fixture(scope="module", params=["native", "torch"])
def llm(request: pytest.FixtureRequest) -> Iterator[LLM]:
    with LLM.load("smollm2", distribute=None, quiet=True) as loaded:
        loaded.distribute(accelerator="cpu", engine=request.param, precision="32-true")
        yield loaded


@pytest.fixture(scope="module")
def native() -> Iterator[LLM]:
    with LLM.load("smollm2", distribute=None, quiet=True) as loaded:
        loaded.distribute(accelerator="cpu", engine="native")
        yield loaded


async def joined(llm: LLM, prompt: str, **options: Any) -> str:
    return "".join([piece async for piece in llm.agenerate(prompt, **(OPTIONS | options))])


def test_tasks_and_threads_get_the_answers_of_a_list(llm: LLM) -> None:
    async def of_tasks() -> list[str]:
        return await asyncio.gather(*(joined(llm, question) for question in QUESTIONS))

    expected = llm.generate(QUESTIONS, **OPTIONS)
    assert asyncio.run(of_tasks()) == expected
    with ThreadPoolExecutor(len(QUESTIONS)) as threads:
        assert list(threads.map(lambda it: llm.generate(it, **OPTIONS), QUESTIONS)) == expected


def test_a_list_of_prompts_streams_with_their_indices(llm: LLM) -> None:
    async def pieces() -> dict[int, str]:
        texts = dict.fromkeys(range(3), "")
        async for index, piece in llm.agenerate(QUESTIONS[:3], **OPTIONS):
            texts[index] += piece
        return texts

    assert list(asyncio.run(pieces()).values()) == llm.generate(QUESTIONS[:3], **OPTIONS)


def test_errors_are_raised_by_the_call_or_where_the_text_is_awaited(llm: LLM) -> None:
    with pytest.raises(InvalidArgument, match="temperature"):
        llm.agenerate("a", temperature=-1)
    with pytest.raises(PromptTooLong):
        llm.agenerate("word " * 20_000)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(joined(llm, "a", logits_processor=fail))
    assert llm.generate(QUESTIONS[0], **OPTIONS)


def test_a_task_that_is_cancelled_in_prefill_ends_its_request(native: LLM) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(joined(native, LONG))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await joined(native, QUESTIONS[0])

    asyncio.run(cancel())
    assert not native._placed.generator()._engine._engine.has_unfinished  # type: ignore[union-attr]


def test_a_conversation_and_answers_to_one_prompt_reuse_the_cache(llm: LLM) -> None:
    text = "Here is a list of facts: " + ", ".join(f"{number} is a number" for number in range(30)) + "."
    first, second = llm.complete(text, **OPTIONS), llm.complete(text + " Why?", **OPTIONS)
    assert second.cached_tokens > 0.8 * first.prompt_tokens
    several = llm.complete(text + " Really?", n=3, seed=1, max_new_tokens=4)
    assert [it.cached_tokens >= it.prompt_tokens - 1 for it in several] == [False, True, True]
    with llm.chat() as chat:
        chat.complete(text, **OPTIONS)
        assert chat.complete("Go on.", **OPTIONS).cached_tokens > first.prompt_tokens


def test_a_failure_of_one_request_ends_no_other(llm: LLM) -> None:
    expected = llm.generate(QUESTIONS[0], **OPTIONS)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    stream = llm.generate(QUESTIONS[0], stream=True, **OPTIONS)
    pieces = [next(stream)]
    with pytest.raises(ZeroDivisionError):
        llm.generate(QUESTIONS[1], logits_processor=fail, **OPTIONS)
    assert "".join([*pieces, *stream]) == expected


def test_the_examples_of_the_guide_run(llm: LLM, capsys: pytest.CaptureFixture[str]) -> None:
    request = GenerationRequest(prompt=[1, 2, 3], max_new_tokens=3)
    scope: dict[str, Any] = {
        "llm": llm,
        "questions": QUESTIONS[:3],
        "generator": llm._generator(),
        "request": request,
    }
    for example in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL):
        exec(example, scope)  # noqa: S102 - of this repository
    assert len(scope["answers"]) == 3
    assert len(capsys.readouterr().out) > 100
