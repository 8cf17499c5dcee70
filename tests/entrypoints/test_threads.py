"""Tests of one LLM in several threads: generation while adapters, placements and weights change."""

import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch

from litgpt import LLM
from litgpt.domain.errors import LitGPTError, NotDistributed, UnsupportedOperation
from litgpt.domain.generation.errors import ModelBusy, ModelClosed
from tests.adapters.tiny_models import save_byte_tokenizer, tiny_model

PROMPTS = ["a", "a longer prompt than the first", "what do llamas eat?", "x" * 40]
OPTIONS: dict[str, Any] = {"top_k": 1, "max_new_tokens": 8}
TIMEOUT = 120.0

pytestmark = pytest.mark.usefixtures("one_thread", "little_garbage")


@pytest.fixture(scope="module")
def little_garbage() -> Iterator[None]:
    """Limit the garbage collection of refused changes to the objects of these tests."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@cache
def two_layers() -> Path:
    """Return a model of few layers: threads compete for the interpreter at each operation."""
    folder = Path(_HOME.name)
    tiny_model("llama", num_hidden_layers=2).save_pretrained(folder)
    save_byte_tokenizer(folder)
    return folder


_HOME = TemporaryDirectory(prefix="threads-")


def placed(**options: Any) -> LLM:
    llm = LLM.load(two_layers(), distribute=None, quiet=True)
    llm.distribute(**{"accelerator": "cpu", "precision": "32-true", **options})
    return llm


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return two adapters that change the model's answers."""
    llm, folders = placed(), {}
    for seed, name in enumerate("ab"):
        llm.add_lora(rank=4, targets="all-linear", name=name)
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in llm.parameters():
                if parameter.requires_grad:
                    parameter.normal_(0, 0.3)
        folders[name] = tmp_path_factory.mktemp(name)
        llm.save_adapter(folders[name], name)
        llm.set_adapter(None)
    return folders


@pytest.fixture
def llm(adapters: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[LLM]:
    """Return a model with both adapters; indirect parameters are its placement."""
    with placed(**getattr(request, "param", {})) as llm:
        for name, folder in adapters.items():
            llm.load_adapter(folder, name)
        llm.set_adapter(None)
        yield llm


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def alone(llm: LLM, prompt: str) -> dict[str | None, str]:
    """Return the answers with each adapter without concurrent calls."""
    answers = {}
    for name in (None, "a", "b"):
        llm.set_adapter(name)
        answers[name] = llm.generate(prompt, **OPTIONS)
    assert len(set(answers.values())) == 3
    return answers


def streamed(llm: LLM, prompt: str) -> str:
    return "".join(llm.generate(prompt, stream=True, **OPTIONS))


def of_a_list(llm: LLM, prompt: str) -> str:
    return str(llm.generate([prompt, *PROMPTS], **OPTIONS)[0])


def of_a_chat(llm: LLM, prompt: str) -> str:
    with llm.chat(apply_chat_template=False, **OPTIONS) as chat:
        return "".join(chat.stream(prompt))


def benchmarked(llm: LLM, prompt: str) -> str:
    return llm.benchmark(prompt=prompt, **OPTIONS)[0]


def whole(llm: LLM, prompt: str) -> str:
    return str(llm.complete(prompt, **OPTIONS).text)


WAYS: list[Callable[[LLM, str], str]] = [whole, streamed, of_a_list, of_a_chat, benchmarked]


def during(
    change: Callable[[int], object], threads: ThreadPoolExecutor, llm: LLM, times: int = 3
) -> list[tuple[str, str]]:
    """Return the prompts and answers of seven threads, while an eighth makes a number of changes."""
    actual, done = list[tuple[str, str]](), threading.Event()

    def changes() -> None:
        try:
            for at in range(times):
                change(at)
                many = len(actual) + 3
                while len(actual) < many and not done.wait(0.001):
                    pass
        finally:
            done.set()

    def answers(number: int) -> None:
        at = number
        try:
            while not done.is_set():
                prompt, way = PROMPTS[at % len(PROMPTS)], WAYS[at % len(WAYS)]
                actual.append((prompt, way(llm, prompt)))
                at += 1
        finally:
            done.set()

    for value in [threads.submit(changes), *(threads.submit(answers, number) for number in range(7))]:
        value.result(TIMEOUT)
    return actual


@pytest.mark.parametrize("llm", [{}, {"generate_strategy": "sequential", "devices": 1}], indirect=True)
def test_answers_use_one_adapter_despite_concurrent_set_adapter(
    llm: LLM, threads: ThreadPoolExecutor
) -> None:
    pure = {prompt: alone(llm, prompt) for prompt in PROMPTS}
    actual = during(lambda at: llm.set_adapter((None, "a", "b")[at % 3]), threads, llm)
    assert all(answer in pure[prompt].values() for prompt, answer in actual)
    assert len({name for p, answer in actual for name in pure[p] if pure[p][name] == answer}) == 3
    llm.set_adapter("b")
    assert llm.generate(PROMPTS[0], **OPTIONS) == pure[PROMPTS[0]]["b"]


def test_answers_are_right_while_adapters_are_loaded_merged_and_deleted(
    llm: LLM, threads: ThreadPoolExecutor, adapters: dict[str, Path], tmp_path: Path
) -> None:
    pure = {prompt: alone(llm, prompt) for prompt in PROMPTS}
    llm.set_adapter("b")

    def change(at: int) -> None:
        llm.merge_adapter()
        llm.save_adapter(tmp_path, "b")
        llm.unmerge_adapter()
        llm.load_adapter(adapters["a"], f"a{at}")
        llm.delete_adapter(f"a{at}")
        llm.set_adapter("b")

    actual = during(change, threads, llm, times=2)
    assert all(answer in pure[prompt].values() for prompt, answer in actual)


def test_answers_are_right_while_the_model_is_distributed_again_and_saved(
    threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    with placed() as llm:
        pure = {prompt: llm.generate(prompt, **OPTIONS) for prompt in PROMPTS}

        def change(at: int) -> None:
            llm.distribute(accelerator="cpu", precision="32-true", fixed_kv_cache_size=(None, 200)[at % 2])
            llm.save(tmp_path / "saved")
            llm.load_state_dict(llm.state_dict())
            llm._is_loaded = False  # the weights are the same, so it may be placed again
            llm.to(torch.float32)

        actual = during(change, threads, llm)
    assert all(answer == pure[prompt] for prompt, answer in actual)


@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_eight_threads_get_the_same_answers_as_one(threads: ThreadPoolExecutor, precision: str) -> None:
    with placed(precision=precision) as llm:
        pure = {prompt: llm.generate(prompt, **OPTIONS) for prompt in PROMPTS}
        drawn = llm.generate(PROMPTS, seed=3, max_new_tokens=8)

        def ask(number: int) -> None:
            for at in range(3):
                prompt = PROMPTS[(at + number) % len(PROMPTS)]
                assert WAYS[(at * number) % len(WAYS)](llm, prompt) == pure[prompt]
            assert llm.generate(PROMPTS, seed=3, max_new_tokens=8) == drawn

        for i in [threads.submit(ask, number) for number in range(8)]:
            i.result(TIMEOUT)


def test_answers_are_right_while_the_model_moves_to_worker_processes(
    threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    ids, hidden = torch.arange(2, 30)[None], torch.ones(1, 2, 48)
    with torch.no_grad(), placed() as llm:
        pure = {prompt: llm.generate(prompt, **OPTIONS) for prompt in PROMPTS}

        def to(strategy: Any) -> Callable[[int], object]:
            return lambda _: llm.distribute("cpu", 2, "32-true", generate_strategy=strategy)

        actual = during(to("tensor_parallel"), threads, llm, times=1)
        logits, loss = llm(ids), llm.loss(ids, ids)
        model: Any = llm.model
        layers: list[Callable[[], object]] = [
            lambda: model.logits(hidden),
            lambda: model.lm_head(hidden),
            lambda: model.transformer["h"][0].mlp(hidden),
            lambda: model.transformer["wte"](ids),
        ]

        def measure() -> None:
            with torch.no_grad():
                for _ in range(4):
                    assert torch.equal(model(ids), logits)
                    assert torch.equal(llm.loss(ids, ids), loss)

        def misuse() -> None:
            with torch.no_grad():
                for layer in 4 * layers:
                    with pytest.raises(UnsupportedOperation, match="Calling a single layer"):
                        layer()

        def ask(number: int) -> None:
            for at in range(2):
                prompt = PROMPTS[(at + number) % len(PROMPTS)]
                assert WAYS[(2 * number + at) % len(WAYS)](llm, prompt) == pure[prompt]

        acts: list[Callable[[], object]] = [measure, misuse, lambda: llm.save(tmp_path / "saved")]
        futures: list[Future[object]] = [threads.submit(act) for act in acts]
        futures += [threads.submit(ask, number) for number in range(4)]
        for value in futures:
            value.result(TIMEOUT)
        actual += during(to("sequential"), threads, llm, times=1)
    assert all(answer == pure[prompt] for prompt, answer in actual)


def test_closing_waits_for_answers_and_later_calls_raise(threads: ThreadPoolExecutor) -> None:
    llm = placed()
    pure, started, go_on = llm.generate("a", **OPTIONS), threading.Event(), threading.Event()

    def read() -> str:
        pieces = llm.generate("a", stream=True, **OPTIONS)
        piece = next(pieces)
        started.set()
        go_on.wait(TIMEOUT)
        return str(piece + "".join(pieces))

    reading = threads.submit(read)
    assert started.wait(TIMEOUT)
    closing = threads.submit(llm.close)
    time.sleep(0.1)
    assert not closing.done()
    go_on.set()
    assert reading.result(TIMEOUT) == pure
    closing.result(TIMEOUT)
    llm.close()
    for ask in WAYS:
        with pytest.raises(NotDistributed):
            ask(llm, "a")
    with pytest.raises(NotDistributed):
        llm(torch.tensor([[1, 2]]))
    llm.distribute(accelerator="cpu", precision="32-true")
    assert llm.generate("a", **OPTIONS) == pure
    llm.close()


def test_a_with_block_ends_despite_open_streams() -> None:
    with placed() as llm:
        open_stream = llm.generate("a", stream=True, **OPTIONS)
        chat = llm.chat(apply_chat_template=False, **OPTIONS)
        next(open_stream)
        saying = chat.stream("hello")
        next(saying)
    for stream in (open_stream, saying):
        with pytest.raises(ModelClosed, match="closed"):
            next(stream)
    with pytest.raises(NotDistributed):
        chat.send("again")
    assert len(chat.messages) == 2


def test_every_change_within_the_own_stream_is_refused_and_changes_nothing(
    llm: LLM, adapters: dict[str, Path]
) -> None:
    llm.set_adapter("a")
    pure = llm.generate("a", **OPTIONS)
    pieces = llm.generate("a", stream=True, **OPTIONS)
    piece = next(pieces)
    state = {name: tensor.clone() for name, tensor in llm.state_dict().items()}
    changes: list[Callable[[], object]] = [
        lambda: llm.set_adapter("b"),
        lambda: llm.load_adapter(adapters["a"], "c"),
        lambda: llm.add_lora(name="d"),
        lambda: llm.delete_adapter("a"),
        llm.merge_adapter,
        llm.unmerge_adapter,
        lambda: llm.distribute(accelerator="cpu"),
        llm.trainer_setup,
        lambda: llm.load_state_dict(state),
        llm.half,
    ]
    for change in changes:
        with pytest.raises(ModelBusy, match=r"\.close\(\)"):
            change()
    assert llm.generate("a", **OPTIONS) == pure  # further answers change nothing
    llm(torch.tensor([[1, 2]]))
    assert piece + "".join(pieces) == pure
    llm.set_adapter("b")
    assert llm.generate("a", **OPTIONS) != pure


def test_an_error_within_an_answer_releases_the_lock(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    from litgpt.adapters.native.model import NativeModel

    pieces = llm.generate("a", stream=True, **OPTIONS)
    next(pieces)
    with monkeypatch.context() as patch:
        patch.setattr(NativeModel, "step", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            next(pieces)
    llm.set_adapter("b")


def test_a_chat_continues_after_the_model_was_distributed_again(llm: LLM) -> None:
    options = {"apply_chat_template": False, **OPTIONS}
    chat, other = llm.chat(**options), llm.chat(**options)
    first = chat.send("hello")
    other.send("hello")
    assert [message.content for message in chat.messages] == ["hello", first]
    llm.distribute(accelerator="cpu", precision="32-true", engine="torch")
    with placed() as another:
        alone = another.chat(**options)
        assert alone.send("hello") == first
        assert chat.send(" again") == other.send(" again") == alone.send(" again")


def test_a_loss_and_logits_are_of_one_adapter(llm: LLM, threads: ThreadPoolExecutor) -> None:
    ids = torch.arange(2, 40)[None]
    pure = []
    for name in ("a", "b"):
        llm.set_adapter(name)
        pure.append((float(llm.loss(ids, ids)), float(llm(ids)[0].sum())))

    def measure() -> None:
        for _ in range(15):
            loss, logits = float(llm.loss(ids, ids)), float(llm(ids)[0].sum())
            assert loss in (pure[0][0], pure[1][0])
            assert logits in (pure[0][1], pure[1][1])

    measured = [threads.submit(measure) for _ in range(4)]
    at = 0
    while not all(value.done() for value in measured):
        llm.set_adapter("ab"[at % 2])
        at += 1
    assert [value.result(TIMEOUT) for value in measured] == [None] * 4


def test_a_signal_ends_the_waiting_of_a_change(llm: LLM, threads: ThreadPoolExecutor) -> None:
    def open_stream() -> Any:
        pieces = llm.generate("a", stream=True, **OPTIONS)
        next(pieces)
        return pieces

    def interrupt() -> None:
        while not llm._lock._queue:
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)

    # The stream's thread is not the one that changes the model and waits.
    pieces = threads.submit(open_stream).result(TIMEOUT)
    interrupted = threads.submit(interrupt)
    with pytest.raises(KeyboardInterrupt):
        llm.set_adapter("a")
    interrupted.result(TIMEOUT)
    pieces.close()
    llm.set_adapter("a")
    assert issubclass(ModelBusy, LitGPTError)
