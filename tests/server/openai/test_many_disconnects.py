"""A thousand clients that go away at random moments."""

import gc
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from litgpt import LLM
from tests.server.openai.test_disconnects import Served

CLIENTS = 1000
THREADS = 16
MIB = 1024**2


@pytest.mark.slow
def test_a_thousand_disconnects_leave_nothing_behind(llm: LLM) -> None:
    served = Served(llm)
    process = psutil.Process()

    def visit(number: int) -> None:
        moment = random.Random(number)  # noqa: S311
        body: dict[str, Any] = {
            "prompt": [moment.randrange(1000, 40_000) for _ in range(moment.randrange(1, 300))],
            "max_tokens": moment.randrange(1, 400),
            "ignore_eos": True,
            "stream": moment.random() < 0.5,
            "n": moment.randrange(1, 3),
            "cache_prompt": False,
        }
        connection = served.send("/v1/completions", body)
        time.sleep(moment.expovariate(5))
        connection.close()

    def visits(first: int, last: int) -> tuple[int, int]:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(visit, range(first, last)))
        served.wait(lambda stats: stats.running == 0 and stats.waiting == 0)
        gc.collect()
        return process.memory_info().rss, process.num_fds()

    try:
        memory, handles = visits(0, CLIENTS // 5)  # buffers have their size
        memory_after, handles_after = visits(CLIENTS // 5, CLIENTS)
        assert served.stats().pages_used == 0
        assert handles_after <= handles + 4
        assert memory_after - memory < 32 * MIB
        assert served.stats().failed_steps == 0
    finally:
        served.server.close()
