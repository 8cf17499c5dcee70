"""Tests of ranks as processes: results of one device, and a bounded lifetime."""

import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from litgpt import LLM
from litgpt.adapters.pytorch.distribution.tensor_parallel.gather import lazy_gather
from litgpt.adapters.pytorch.distribution.tensor_parallel.rank0 import Rank0GPT
from litgpt.adapters.pytorch.distribution.tensor_parallel.rpc import encode_command
from litgpt.adapters.pytorch.generation import model_runner
from litgpt.adapters.pytorch.model.cache.kv_cache import KVCache
from litgpt.adapters.pytorch.weights.exporter import ModelExporter
from litgpt.container import container
from litgpt.domain.errors import InvalidArgument, UnsupportedOperation
from litgpt.domain.generation.errors import WorkerLost
from litgpt.domain.generation.request import GenerationRequest, TokenEvent
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.model import ParameterSpec
from litgpt.domain.progress import Notice, Progress
from litgpt.domain.scheduling.scheduler import StepLimits
from tests.adapters.tiny_models import tiny_folder

LONG = 120.0
"""Seconds, for what takes a few on a machine with nothing else to do; a deadline would take ten minutes."""
PROMPTS = ["a", "a longer one", "the longest of the three prompts"]


def one_device() -> LLM:
    llm = LLM.load(tiny_folder("llama"), distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true")
    return llm


def over(ranks: int) -> LLM:
    llm = LLM.load(tiny_folder("llama"), distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", devices=ranks, generate_strategy="tensor_parallel", precision="32-true")
    return llm


def workers(llm: LLM) -> list[int]:
    assert isinstance(llm.model, Rank0GPT)
    return [worker.process.pid for worker in llm.model.pool.workers]


def gone(pids: list[int], within: float = LONG) -> bool:
    deadline = time.monotonic() + within
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(scope="module")
def pool() -> Iterator[LLM]:
    with over(2) as llm:
        yield llm


def test_the_logits_are_those_of_one_device(pool: LLM) -> None:
    ids = torch.arange(2, 30)[None]
    logits = pool(ids)
    assert torch.allclose(logits, one_device()(ids), atol=1e-5)


def test_the_ranks_on_one_cpu_share_its_memory(pool: LLM) -> None:
    assert isinstance(pool.model, Rank0GPT)
    assert pool.model.ranks_on_host == pool.model.communicator.world_size > 1


def test_answers_are_those_of_one_device_in_lists_and_in_streams(pool: LLM) -> None:
    alone = one_device()
    options = {"max_new_tokens": 12, "top_k": 1}
    assert pool.generate(PROMPTS, **options) == alone.generate(PROMPTS, **options)
    assert "".join(pool.generate("stream", stream=True, **options)) == alone.generate("stream", **options)
    drawn = {"max_new_tokens": 12, "seed": 3, "temperature": 0.9}
    assert pool.generate("draw", **drawn) == alone.generate("draw", **drawn)


def test_scores_and_embeddings_are_those_of_one_device(pool: LLM) -> None:
    alone = one_device()
    prompts = ["A prompt that is longer than thirty-two bytes. ", "Hi"]
    continuations = [["Yes", "No, it is not."], ["you"]]
    for scores, expected in zip(
        pool.score(prompts, continuations), alone.score(prompts, continuations), strict=True
    ):
        for score, other in zip(scores, expected, strict=True):
            assert score.logprobs == pytest.approx(other.logprobs, abs=1e-4)
            assert score.is_greedy == other.is_greedy
    assert pool.embed(prompts) == pytest.approx(alone.embed(prompts), abs=1e-5)


def test_beams_are_those_of_one_device(pool: LLM) -> None:
    prompts = ["A longer prompt than the other.", "Hi"]
    found = pool.beam_search(prompts, num_return_sequences=2, max_new_tokens=6)
    for beams, expected in zip(
        found, one_device().beam_search(prompts, num_return_sequences=2, max_new_tokens=6), strict=True
    ):
        assert [beam.token_ids for beam in beams] == [beam.token_ids for beam in expected]
        assert [beam.score for beam in beams] == pytest.approx([beam.score for beam in expected], abs=1e-4)


def test_a_stream_that_is_left_leaves_the_ranks_ready(pool: LLM) -> None:
    stream = pool.generate("left", stream=True, max_new_tokens=50, top_k=1)
    next(iter(stream))
    del stream
    assert pool.generate("again", max_new_tokens=5, top_k=1) == one_device().generate(
        "again", max_new_tokens=5, top_k=1
    )


def test_a_prefix_is_kept_forked_and_taken_back_at_every_rank(pool: LLM) -> None:
    def talk(llm: LLM) -> tuple[list[list[int]], list[int]]:
        port, results, reused = llm._generator(), list[list[int]](), list[int]()

        def ask(*prompts: list[int]) -> None:
            requests = [
                GenerationRequest(
                    prompt=prompt, max_new_tokens=6, sampling_params=SamplingParams(temperature=0)
                )
                for prompt in prompts
            ]
            answers: list[list[int]] = [[] for _ in prompts]
            for event in port.generate(requests):
                answers[event.index].append(event.token)
                reused.extend([event.cached_tokens] if event.finish_reason is not None else [])
            results.extend(answers)

        first = list(range(5, 45))
        ask(first)
        ask([*first, *results[0], 7, 8, 9])
        ask([*first, 50, 51], [*first[:35], 60], [*first, 50, 52, 53])
        return results, sorted(reused)

    results, reused = talk(pool)
    assert results == talk(one_device())[0]
    assert reused == [0, 35, 40, 41, 45]


def test_waiting_prompts_join_the_batch_at_every_rank(pool: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_runner, "_LIMITS", StepLimits(max_sequences=3, max_draft_tokens=0))
    requests = [
        GenerationRequest(
            prompt=range(5, 8 + 7 * at % 30),
            max_new_tokens=2 + 5 * at % 12,
            sampling_params=SamplingParams(temperature=0),
        )
        for at in range(9)
    ]

    def answers(llm: LLM) -> list[tuple[int, int]]:
        engine, results = llm._generator().open(), list[tuple[int, int]]()
        for request in requests:
            engine.add(request)
        while engine.has_unfinished:
            results += [(it.index, it.token) for it in engine.step() if isinstance(it, TokenEvent)]
        return results

    alone = one_device()
    alone.distribute(accelerator="cpu", precision="32-true", engine="torch")
    expected = answers(alone)
    joined: list[int] = []
    join = KVCache.join

    def recorded(
        cache: KVCache, source: KVCache, source_rows: Sequence[int], rows: Sequence[int], **end: Any
    ) -> None:
        joined.extend(rows)
        join(cache, source, source_rows, rows, **end)

    monkeypatch.setattr(KVCache, "join", recorded)
    assert answers(pool) == expected
    assert joined


def test_four_ranks_with_two_kv_heads_generate_and_save_like_one_device(tmp_path: Path) -> None:
    alone, ids = one_device(), torch.arange(2, 60).view(2, 29)
    options = {"max_new_tokens": 12, "top_k": 1}
    with over(4) as llm:
        assert torch.allclose(llm(ids), alone(ids), atol=1e-5)
        assert llm.generate(PROMPTS, **options) == alone.generate(PROMPTS, **options)
        llm.save(tmp_path)
    reloaded = LLM.load(tmp_path, distribute=None, quiet=True)
    reloaded.distribute(accelerator="cpu", precision="32-true")
    assert torch.equal(reloaded(ids), alone(ids))


def test_leaving_ends_the_ranks_and_another_strategy_may_follow() -> None:
    threads = torch.get_num_threads()
    with over(2) as llm:
        first = workers(llm)
        assert torch.get_num_threads() == max(1, (os.cpu_count() or 1) // 2)
        llm.distribute(accelerator="cpu", devices=2, generate_strategy="sequential", precision="32-true")
        assert gone(first)
        assert llm.generate("x", max_new_tokens=3, top_k=1) == one_device().generate(
            "x", max_new_tokens=3, top_k=1
        )
        llm.distribute(accelerator="cpu", devices=2, generate_strategy="tensor_parallel")
        second = workers(llm)
    assert gone(second)
    assert torch.get_num_threads() == threads


def test_a_lost_rank_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    with over(2) as llm:
        for name in ("SIGKILL", "SIGSEGV"):
            (pid,) = workers(llm)
            stream = iter(llm.generate("x", stream=True, max_new_tokens=200, top_k=1))
            next(stream)
            number = signal.Signals[name]
            os.kill(pid, number)
            started = time.monotonic()
            cause = rf"rank 1 is gone.*ended by signal {number} \({name}\)"
            with pytest.raises(WorkerLost, match=cause):
                list(iter(lambda: llm.generate("y", max_new_tokens=1), None))
            assert time.monotonic() - started < LONG
            assert gone([pid])
            llm.distribute(accelerator="cpu", devices=2, generate_strategy="tensor_parallel")
            assert isinstance(llm.generate("x", max_new_tokens=2, top_k=1), str)
        os.kill(workers(llm)[0], signal.SIGKILL)
        with pytest.raises(WorkerLost, match="rank 1"):
            llm.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_rank_that_cannot_read_the_weights_is_an_error_within_seconds(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("llama"), folder)
    llm = LLM.load(folder, distribute=None, quiet=True)
    weights = folder / "model.safetensors"
    half = tmp_path / "half"
    half.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    half.replace(weights)
    started = time.monotonic()
    with pytest.raises(WorkerLost, match=r"rank 1 is gone.*CorruptFile.*model\.safetensors"):
        llm.distribute(accelerator="cpu", devices=2, generate_strategy="tensor_parallel")
    assert time.monotonic() - started < LONG


def test_positions_reach_every_rank(pool: LLM) -> None:
    ids, positions = torch.arange(2, 12)[None], torch.arange(10)[None].square()
    ranks, alone = pool.model, one_device().model
    assert ranks is not None
    assert alone is not None
    far_apart = ranks(ids, positions=positions)
    assert torch.allclose(far_apart, alone(ids, positions=positions), atol=1e-5)
    assert not torch.allclose(far_apart, pool(ids), atol=1e-3)


def test_a_cache_freed_during_a_command_does_not_block_the_ranks(pool: LLM) -> None:
    assert isinstance(pool.model, Rank0GPT)
    crew = pool.model.pool
    with crew._lock:  # as within `broadcast`, where the garbage collector may run
        crew.broadcast_deferred(encode_command("drop", cache=0))
    assert pool.generate("on", max_new_tokens=3, top_k=1) == one_device().generate(
        "on", max_new_tokens=3, top_k=1
    )


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_ranks_save_the_same_file_as_one_device(family: str, tmp_path: Path) -> None:
    with LLM.load(tiny_folder(family), distribute=None, quiet=True) as llm:
        for devices, folder, strategy in ((1, "one", None), (2, "two", "tensor_parallel")):
            llm.distribute("cpu", devices, "32-true", generate_strategy=strategy)  # type: ignore[arg-type]
            llm.save(tmp_path / folder)
        first, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
        assert first == two
        assert isinstance(llm.generate("on", max_new_tokens=2, top_k=1), str)


def test_a_tensor_parallel_loss_is_computed_and_its_backward_refused(pool: LLM) -> None:
    ids = torch.arange(2, 30).view(2, 14)
    for learn in (lambda: pool(ids, ids), lambda: pool.loss(ids, ids)):
        with pytest.raises(UnsupportedOperation, match=r"a tensor-parallel model.*trainer_setup\(\)"):
            learn()
    alone = one_device()
    with torch.no_grad():
        _, expected = alone(ids, ids)
        logits, actual = pool(ids, ids)
        for loss in (actual, pool.loss(ids, ids), alone.loss(ids, ids)):
            torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(logits, alone(ids))
        with pytest.raises(InvalidArgument, match="target"):
            pool.loss(ids, torch.full_like(ids, -100))
    assert pool.model is not None
    assert alone.model is not None
    hidden = pool.model.hidden_states(ids, last_token_only=True)
    torch.testing.assert_close(hidden, alone.model.hidden_states(ids, last_token_only=True))
    with pytest.raises(UnsupportedOperation, match="Calling a single layer"):
        pool.model.logits(hidden)
    torch.testing.assert_close(pool(ids), logits)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_fork_of_the_caller_has_no_ranks_and_does_not_end_them(pool: LLM) -> None:
    answer = pool.generate("x", max_new_tokens=4, top_k=1)
    child = os.fork()
    if not child:
        try:
            torch.set_num_threads(1)
            with pytest.raises(UnsupportedOperation, match="forked process"):
                pool.generate("x", max_new_tokens=4)
            pool.close()
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert pool.generate("x", max_new_tokens=4, top_k=1) == answer


def test_threads_take_turns(pool: LLM) -> None:
    ids = [torch.arange(2, 30)[None] + 7 * i for i in range(4)]
    expected = [one_device()(row) for row in ids]
    with futures.ThreadPoolExecutor(4) as threads:
        for value, actual in zip(expected * 5, threads.map(pool, ids * 5), strict=True):
            torch.testing.assert_close(actual, value)


def test_one_whole_tensor_is_held_at_a_time_and_each_is_gathered_once(pool: LLM) -> None:
    references: list[weakref.ref[torch.Tensor]] = []
    model, joins = pool.model, pool._loaded.weight_sources
    assert isinstance(model, Rank0GPT)

    def whole(parameter: ParameterSpec) -> torch.Tensor:
        assert not [tensor for tensor in references if tensor() is not None]
        tensor = model.gather(parameter).clone()
        references.append(weakref.ref(tensor))
        return tensor

    gathered = lazy_gather([join.parameter for join in joins], whole)
    weights = ModelExporter.from_model(model, joins, read_full=gathered)
    for name, info in weights.tensors.items():
        assert tuple(weights.read(name).shape) == info.shape
    assert len(references) == len(joins)


def test_ctrl_c_between_two_tensors_ends_the_save_and_not_the_ranks(pool: LLM, tmp_path: Path) -> None:
    def interrupted(event: Notice | Progress) -> None:
        if isinstance(event, Progress) and event.completed == 3:
            os.kill(os.getpid(), signal.SIGINT)

    assert pool._placed is not None
    save = container.save_model()
    with pytest.raises(KeyboardInterrupt):
        save(pool._loaded, pool._placed, tmp_path / "saved", interrupted)
    assert not (tmp_path / "saved").exists()
    pool.save(tmp_path / "again")
    assert pool.generate("on", max_new_tokens=3, top_k=1) == one_device().generate(
        "on", max_new_tokens=3, top_k=1
    )


def test_saving_quantized_ranks_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    with LLM.load(tiny_folder("llama"), distribute=None, quiet=True) as llm:
        llm.distribute(accelerator="cpu", devices=2, quantize="int8", generate_strategy="tensor_parallel")
        with pytest.raises(UnsupportedOperation, match="Place the model on one device"):
            llm.save(tmp_path)


SCRIPT = """
import sys, time
from pathlib import Path
from typing import Any
from litgpt import LLM
with Path({count!r}).open("a") as file:
    file.write("run\\n")
llm = LLM.load({model!r}, distribute=None, quiet=True)
llm.distribute(accelerator="cpu", devices=2, generate_strategy="tensor_parallel")
print(llm.generate("hello", max_new_tokens=3, top_k=1))
print("pids", *[worker.process.pid for worker in llm.model.pool.workers], flush=True)
{then}
"""


def script(tmp_path: Path, then: str) -> tuple[str, Path]:
    count = tmp_path / "count"
    return SCRIPT.format(count=str(count), model=str(tiny_folder("llama")), then=then), count


def pids_in(message: str) -> list[int]:
    (line,) = [line for line in message.splitlines() if line.startswith("pids")]
    return [int(word) for word in line.split()[1:]]


def test_a_script_on_stdin_runs_once_and_leaves_nothing(tmp_path: Path) -> None:
    code, count = script(tmp_path, "")
    done = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert count.read_text() == "run\n"
    assert gone(pids_in(done.stdout))


def test_a_script_without_a_guard_that_fails_runs_once_and_leaves_nothing(tmp_path: Path) -> None:
    code, count = script(tmp_path, "1 / 0")
    path = tmp_path / "script.py"
    path.write_text(code)
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert count.read_text() == "run\n"
    assert gone(pids_in(done.stdout))


def test_a_model_that_cannot_be_sharded_is_refused_before_workers_start() -> None:
    llm = LLM.load(tiny_folder("llama"), distribute=None, quiet=True)
    with pytest.raises(UnsupportedOperation, match="4 heads in 2 groups cannot be split evenly"):
        llm.distribute(accelerator="cpu", devices=3, generate_strategy="tensor_parallel")
