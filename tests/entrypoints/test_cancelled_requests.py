"""Tests of the engine with many short requests of several threads, which are cancelled at random."""

import gc
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from litgpt import LLM
from litgpt.adapters.native.generator import NativeGenerator
from litgpt.adapters.native.model import NativeSequence
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampling_params import SamplingParams
from tests.adapters.tiny_models import VOCAB_SIZE, tiny_folder

THREADS = 6
MEMORY = 2**25
SYSTEM = list(range(2, 42))
"""A beginning that some prompts have in common, long enough to be shared."""


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM.load(tiny_folder("llama"), distribute=None, quiet=True) as loaded:
        loaded.distribute(accelerator="cpu", engine="native")
        yield loaded


def short_request(numbers: random.Random) -> GenerationRequest:
    prompt = numbers.choices(range(2, VOCAB_SIZE), k=numbers.randint(1, 12))
    return GenerationRequest(
        prompt=[*SYSTEM, *prompt] if numbers.random() < 0.3 else prompt,
        max_new_tokens=numbers.randint(1, 8),
        sampling_params=SamplingParams(seed=numbers.randint(0, 99)),
        priority=numbers.randint(-1, 1),
    )


def run_stream(generator: NativeGenerator, numbers: random.Random, count: int) -> Counter[str]:
    """Generate for some requests, of which some are cancelled; return how many ended in which way.

    A stream may also be closed, or dropped without being closed, which cancels the rest.
    """
    requests = [short_request(numbers) for _ in range(count)]
    ends: dict[int, str] = {}
    lengths: Counter[int] = Counter()
    stream = generator.generate(requests)

    def cancel(index: int) -> None:
        stream.cancel(index)
        ends.setdefault(index, "cancelled")  # an answer that has ended may be cancelled, too

    if numbers.random() < 0.3:
        cancel(numbers.randrange(count))
    for event in stream:
        assert event.index not in ends, "an event after the end"
        lengths[event.index] += 1
        if event.finish_reason is not None:
            assert lengths[event.index] == requests[event.index].max_new_tokens
            ends[event.index] = event.finish_reason
        if numbers.random() < 0.15:
            cancel(numbers.randrange(count))
        if numbers.random() < 0.02:
            if numbers.random() < 0.5:
                stream.close()
                assert next(stream, None) is None
            ends |= dict.fromkeys(set(range(count)) - set(ends), "cancelled")
            break
    assert len(ends) == count, "a request without an end"
    return Counter(ends.values())


def run_many(generator: NativeGenerator, count: int, seed: int) -> Counter[str]:
    """Generate for many requests in several threads."""

    def work(thread: int) -> Counter[str]:
        numbers = random.Random(f"{seed} {thread}")  # noqa: S311 - not cryptography
        ends = Counter[str]()
        while ends.total() < count // THREADS:
            ends += run_stream(generator, numbers, numbers.randint(1, 16))
        return ends

    with ThreadPoolExecutor(THREADS) as threads:
        return sum(threads.map(work, range(THREADS)), Counter[str]())


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_sequences() -> int:
    gc.collect()
    found = [it for it in gc.get_objects() if type(it) is NativeSequence]  # no proxies, which warn
    return sum(it._handle.value is not None for it in found)


def count_entries(name: str) -> int:
    """Count the open files ("fd") or the threads ("task") of this process."""
    return sum(1 for _ in Path("/proc/self", name).iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_requests_that_are_cancelled_at_random_end_once_and_leave_nothing(llm: LLM, count: int) -> None:
    placed: Any = llm._placed
    # So little memory that the cache is full of prefixes before the measurement begins.
    generator = NativeGenerator(placed.model, lambda: 0, available_memory=MEMORY)
    shared, engine = generator._engine, generator._engine._engine
    others = open_sequences()
    run_many(generator, 600, seed=0)  # so that pools of memory and of threads have their sizes, too
    files, threads, memory = count_entries("fd"), count_entries("task"), resident_bytes()
    ends = run_many(generator, count, seed=1)
    assert ends.total() >= count
    assert min(ends["length"], ends["cancelled"]) > count // 10
    assert not shared._inbox
    assert not shared._owners
    assert not engine.has_unfinished
    assert not engine.scheduler.has_unfinished
    # Only cached prefixes are left, of which a sequence each is kept.
    assert engine.pages.num_used <= engine.prefixes.max_pages
    assert open_sequences() - others == len(engine.prefixes)
    assert count_entries("fd") == files
    assert count_entries("task") <= threads + THREADS  # those of the pool may just be ending
    assert resident_bytes() - memory < 8 * 2**20
    generator.close()
    assert engine.pages.num_used == 0
    assert open_sequences() == others
