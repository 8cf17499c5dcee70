"""Tests of failures in a distributed step: reported from any rank, and without effect on later steps."""

import faulthandler
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from litgpt import LLM
from litgpt.adapters.pytorch.distribution.tensor_parallel.defer_sigint import (
    defer_sigint,
    defer_sigint_between_steps,
)
from litgpt.adapters.pytorch.distribution.tensor_parallel.rank0 import Rank0GPT
from litgpt.adapters.pytorch.distribution.tensor_parallel.rpc import encode_command
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.runtime.out_of_memory import is_out_of_memory
from litgpt.domain.errors import InvalidArgument, LitGPTError, UnsupportedOperation
from litgpt.domain.generation.errors import WorkerFailed
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampling_params import SamplingParams
from tests.adapters.test_workers import gone, one_device, over, workers

OPTIONS: dict[str, Any] = {"max_new_tokens": 5, "top_k": 1}
LONG = 120.0
"""Seconds, for what takes less than one where nothing else runs; a deadline would take ten minutes."""


@pytest.fixture(scope="module")
def pool() -> Iterator[LLM]:
    with over(2) as llm:
        yield llm


@pytest.fixture(scope="module")
def expected() -> str:
    return str(one_device().generate("again", **OPTIONS))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        MemoryError("no memory"),
        ValueError("a hook of the caller's"),
        InvalidArgument("x", 1, "something else"),
        KeyboardInterrupt(),
        SystemExit(3),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_rank_0_within_a_step_is_raised_unchanged_and_the_ranks_continue(
    pool: LLM, expected: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pool.model is not None
    before = workers(pool)
    layers = list(pool.model.transformer["h"].children())
    for layer in (layers[0], layers[-1]):
        with monkeypatch.context() as patch:

            def fails(*_: object) -> None:
                raise error

            patch.setattr(layer, "forward", fails)
            begun = time.monotonic()
            with pytest.raises(UnsupportedOperation if is_out_of_memory(error) else type(error)) as raised:
                pool.generate("a text of some length", **OPTIONS)
            assert error in (raised.value, raised.value.__cause__)
            assert time.monotonic() - begun < LONG
        assert pool.generate("again", **OPTIONS) == expected
    assert workers(pool) == before


def test_a_workers_error_within_a_step_names_its_rank_and_the_ranks_continue(
    pool: LLM, expected: str
) -> None:
    assert isinstance(pool.model, Rank0GPT)
    before = workers(pool)
    with pool.model.pool.collective(encode_command("keep_rows", cache=10**9, rows=[0])):
        pass  # the worker has no such cache, which it notices after this rank is done
    with pytest.raises(WorkerFailed, match=r"Rank 1.*KeyError: 1000000000.*ready for the next"):
        pool.generate("again", **OPTIONS)
    assert pool.generate("again", **OPTIONS) == expected
    assert workers(pool) == before


def test_a_prefix_is_of_use_after_a_step_that_failed(pool: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(llm: LLM, prompt: list[int]) -> list[int]:
        request = GenerationRequest(
            prompt=prompt, max_new_tokens=4, sampling_params=SamplingParams(temperature=0)
        )
        return [event.token for event in llm._generator().generate([request])]

    assert pool.model is not None
    first = list(range(5, 45))
    ask(pool, first)
    with monkeypatch.context() as patch:

        def fails(*_: object) -> None:
            raise MemoryError

        patch.setattr(list(pool.model.transformer["h"].children())[1], "forward", fails)
        with pytest.raises(UnsupportedOperation, match="not enough memory"):
            ask(pool, [*first, 40])
    assert ask(pool, [*first, 41]) == ask(one_device(), [*first, 41])


def test_a_failed_cache_allocation_on_rank_0_allocates_nothing_on_other_ranks(
    pool: LLM, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(pool.model, Rank0GPT)
    crew, commands = pool.model.pool, list[bytes]()
    tell = crew.broadcast

    def noted(command: bytes) -> None:
        commands.append(command)
        tell(command)

    monkeypatch.setattr(crew, "broadcast", noted)

    def fails(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(GPT, "empty_cache", fails)
        with pytest.raises(UnsupportedOperation, match="not enough memory"):
            pool.generate("again", **OPTIONS)
    number = json.loads(commands[0])["cache"]
    with crew.collective(encode_command("keep_rows", cache=number, rows=[0])):
        pass  # which the worker cannot do with a cache that it does not have
    with pytest.raises(WorkerFailed, match=f"KeyError: {number}"):
        pool.generate("again", **OPTIONS)
    assert pool.generate("again", **OPTIONS) == expected


def test_a_loop_over_a_stream_that_fails_leaves_the_ranks_ready(pool: LLM, expected: str) -> None:
    def fail(_: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(map(fail, pool.generate("again", stream=True, **OPTIONS)))
    assert pool.generate("again", **OPTIONS) == expected


def test_the_sigint_handler_is_exchanged_once_per_answer(pool: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    exchanged: list[object] = []
    exchange = signal.signal

    def counted(number: int, handler: Any) -> Any:
        exchanged.append(handler)
        return exchange(number, handler)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(signal, "signal", counted)
    counts = []
    for tokens in (2, 20):
        exchanged.clear()
        pool.generate("some text", max_new_tokens=tokens, top_k=1)
        counts.append(len(exchanged))
    assert counts[0] == counts[1] <= 4  # there and back for the cache, and for the answer
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_between_two_tokens_is_immediate_and_the_ranks_stay_usable(pool: LLM, expected: str) -> None:
    before = signal.getsignal(signal.SIGINT)
    stream = iter(pool.generate("some text", stream=True, max_new_tokens=50, top_k=1))
    next(stream)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    del stream
    assert signal.getsignal(signal.SIGINT) is before
    assert pool.generate("again", **OPTIONS) == expected


def test_closing_during_another_threads_answer_ends_both() -> None:
    llm = over(2)
    pids = workers(llm)
    answered, ended = threading.Event(), list[object]()

    def generate() -> None:
        try:
            while True:
                llm.generate("some text", max_new_tokens=20, top_k=1)
                answered.set()
        except (LitGPTError, AttributeError) as error:
            ended.append(error)

    thread = threading.Thread(target=generate)
    thread.start()
    assert answered.wait(LONG)
    llm.close()
    thread.join(LONG)
    assert not thread.is_alive()
    assert ended
    assert gone(pids)


class TestHandlers:
    """SIGINT handlers of any kind."""

    @pytest.fixture(autouse=True)
    def _back(self) -> Iterator[None]:
        before = signal.getsignal(signal.SIGINT)
        yield
        signal.signal(signal.SIGINT, before)

    def test_a_non_python_handler_is_left_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(*_: object) -> None:
            raise TypeError("signal handler must be signal.SIG_IGN, signal.SIG_DFL, or a callable object")

        monkeypatch.setattr(signal, "getsignal", lambda _: None)
        monkeypatch.setattr(signal, "signal", refused)
        with defer_sigint_between_steps(), defer_sigint():
            pass

    def test_a_users_handler_is_called_once_after_the_step(self) -> None:
        received: list[object] = []
        signal.signal(signal.SIGINT, lambda number, frame: received.append((number, frame)))
        with defer_sigint_between_steps():
            with defer_sigint(), defer_sigint():
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
                assert not received
            assert len(received) == 1
            assert received[0][1] is not None  # type: ignore[index] # it is a pair
            signal.raise_signal(signal.SIGINT)
            assert len(received) == 2

    def test_a_handler_installed_meanwhile_stays(self) -> None:
        def handler(*_: object) -> None:
            return

        with defer_sigint_between_steps():
            signal.signal(signal.SIGINT, handler)
            with defer_sigint():
                pass
        assert signal.getsignal(signal.SIGINT) is handler

    def test_a_handler_installed_by_c_code_is_left_alone(self, tmp_path: Path) -> None:
        before = signal.getsignal(signal.SIGINT)
        with (tmp_path / "traces").open("w+") as traces:
            faulthandler.register(signal.SIGINT, file=traces, chain=False)
            try:
                with defer_sigint_between_steps(), defer_sigint():
                    signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
            finally:
                faulthandler.unregister(signal.SIGINT)
            traces.seek(0)
            assert traces.read().count("most recent call first") >= 2
        assert signal.getsignal(signal.SIGINT) is before
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    def test_a_signal_from_another_thread_waits_for_the_step_too(self) -> None:
        received: list[bool] = []

        def step() -> None:
            with defer_sigint():
                thread = threading.Thread(target=signal.raise_signal, args=(signal.SIGINT,))
                thread.start()
                thread.join()
                received.append(True)

        with pytest.raises(KeyboardInterrupt):
            step()
        assert received

    def test_ignored_stays_ignored(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with defer_sigint_between_steps(), defer_sigint():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN

    def test_the_default_handler_ends_the_process_after_the_step(self) -> None:
        code = (
            "import signal\n"
            "from litgpt.adapters.pytorch.distribution.tensor_parallel.defer_sigint import defer_sigint\n"
            "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
            "with defer_sigint():\n"
            "    signal.raise_signal(signal.SIGINT)\n"
            "    print('finished', flush=True)\n"
            "print('not reached')\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (-signal.SIGINT, "finished\n")

    def test_nested_generations_restore_the_handler_at_the_last_end(self) -> None:
        before = signal.getsignal(signal.SIGINT)
        first, other = defer_sigint_between_steps(), defer_sigint_between_steps()
        first.__enter__()
        other.__enter__()
        first.__exit__(None, None, None)
        with pytest.raises(KeyboardInterrupt), defer_sigint():
            signal.raise_signal(signal.SIGINT)
        other.__exit__(None, None, None)
        assert signal.getsignal(signal.SIGINT) is before
