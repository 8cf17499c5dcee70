"""Scores, ranks and echoed prompts of a server: their limits, and their ends."""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any

import attrs
import pytest

from litgpt.adapters.constraints.llguidance_compiler import LlguidanceCompiler
from litgpt.application.scoring.rerank import Rerank
from litgpt.application.serving.errors import QueueFull
from litgpt.application.serving.scoring_service import MAX_TOKENS, ScoringService
from litgpt.application.serving.served_model import ServedModel
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.scoring.request import ScoringRequest, TokenScores
from litgpt.testing import ScriptedGenerator
from tests.application.test_render_prompt import loaded

TIMEOUT = 120.0


@attrs.define
class Counting(ScriptedGenerator):
    """Records the tokens of each call, which begins when `gate` is set."""

    gate: threading.Event = attrs.field(factory=threading.Event)
    entered: threading.Event = attrs.field(factory=threading.Event)
    calls: list[int] = attrs.field(factory=list)

    def score(self, requests: Sequence[ScoringRequest]) -> list[TokenScores]:
        self.calls.append(sum(len(it.ids) for it in requests))
        self.entered.set()
        assert self.gate.wait(TIMEOUT)
        return super().score(requests)


def service_of(generator: Counting, **chosen: Any) -> ScoringService:
    return ScoringService(
        ServedModel(name="tiny", loaded=loaded, generator=generator, compiler=LlguidanceCompiler()), **chosen
    )


def requests(count: int, size: int = 1000) -> list[GenerationRequest]:
    return [GenerationRequest(prompt=[number, *[1] * size], prompt_logprobs=0) for number in range(count)]


@pytest.mark.parametrize("kind", ["yes_no", "echo"])
def test_prompts_are_counted_before_anything_is_computed(kind: str) -> None:
    generator = Counting(b"a")
    service = service_of(generator)
    count = MAX_TOKENS // 600 + 1
    call: Coroutine[Any, Any, Any] = (
        service.rerank("q" * 600, ["d"] * count, "yes_no", None)
        if kind == "yes_no"
        else service.prompt_logprobs(requests(count, 600))
    )
    with pytest.raises(InvalidArgument, match=f"more than {MAX_TOKENS} tokens"):
        asyncio.run(call)
    assert not generator.calls
    service.stop()


def test_ranks_are_those_of_the_library_and_count_their_prompts() -> None:
    generator = Counting(b"yes")
    generator.gate.set()
    service = service_of(generator)
    documents = [f"{number} llamas" for number in range(70)]
    ranked, tokens = asyncio.run(service.rerank("q" * 100, documents, "yes_no", None))
    rerank = Rerank(loaded(), generator)
    assert tokens == sum(map(len, rerank.prompts("q" * 100, documents)))
    assert len(generator.calls) > 1
    assert ranked == rerank.by_answer("q" * 100, documents)
    service.stop()


def test_echoed_prompts_end_with_their_client_and_wait_in_the_queue() -> None:
    async def leave() -> None:
        first = asyncio.ensure_future(service.prompt_logprobs(requests(100)))
        assert await asyncio.to_thread(generator.entered.wait, TIMEOUT)
        with pytest.raises(QueueFull):
            await service.prompt_logprobs(requests(1))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        generator.gate.set()
        await service.prompt_logprobs(requests(1))

    generator = Counting(b"a")
    service = service_of(generator, max_queued=0)
    asyncio.run(leave())
    assert [calls < 9000 for calls in generator.calls] == [True, True]
    service.stop()


def test_the_continuations_of_one_prompt_are_computed_in_batches_of_bounded_tokens() -> None:
    generator = Counting(b"a")
    generator.gate.set()
    service = service_of(generator)
    pairs = [("p" * 900, [f"{number}" for number in range(200)]), ("q", ["a", "b"])]
    scores = asyncio.run(service.score(pairs))
    assert [*map(len, scores)] == [200, 2]
    assert len(generator.calls) > 20
    assert max(generator.calls) <= 8192
    service.stop()


def test_scores_of_too_many_tokens_are_refused_before_anything_is_computed() -> None:
    generator = Counting(b"a")
    service = service_of(generator)
    pairs = [("p" * 600, ["a"] * (MAX_TOKENS // 600))]
    with pytest.raises(InvalidArgument, match=f"more than {MAX_TOKENS} tokens"):
        asyncio.run(service.score(pairs))
    assert not generator.calls
    service.stop()
