"""Tests of requests that name their LoRA adapter: in one batch, and equal to those of the active adapter."""

import gc
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from litgpt import LLM
from litgpt.adapters.native.generator import NativeGenerator
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.generation.request import GenerationRequest, TokenEvent
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.ports import Generator
from litgpt.domain.scheduling.engine import Engine
from litgpt.domain.scheduling.events import FailedRequest
from tests.adapters.tiny_models import tiny_folder
from tests.agreement.test_lora_peft import reference
from tests.agreement.test_native_lora import placed, save_random_adapter

# PEFT uses a deprecated transformers interface.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

ENGINES = ("native", "torch")
NAMES = (None, "a", "b", "a", None, "c", "b")
OPTIONS: dict[str, dict[str, Any]] = {
    "a": {"targets": "all-linear"},
    "b": {"targets": ["q_proj", "o_proj"], "rank": 20, "lora_bias": True},
    "c": {"targets": ["v_proj", "down_proj"], "rank": 40},
}
GREEDY = SamplingParams(temperature=0)
PROMPT = [(7 * at) % 60 + 1 for at in range(50)]


def request(adapter: str | None, at: int = 0, **options: Any) -> GenerationRequest:
    values: dict[str, Any] = {
        "max_new_tokens": 12,
        "sampling_params": SamplingParams(temperature=0),
        "logprobs": True,
    }
    return GenerationRequest(prompt=[*PROMPT, at + 1], adapter=adapter, **(values | options))


def answers(generator: Generator, *requests: GenerationRequest) -> list[list[TokenEvent]]:
    events: list[list[TokenEvent]] = [[] for _ in requests]
    for event in generator.generate(requests):
        events[event.index].append(event)
    return events


def drained(
    engine: Engine, *indices: int, earlier: Sequence[TokenEvent | FailedRequest] = ()
) -> dict[int, list[TokenEvent]]:
    """Compute all steps and return the events of each request, after the `earlier` ones."""
    events: dict[int, list[TokenEvent]] = {index: [] for index in indices}
    found = list(earlier)
    while engine.has_unfinished:
        found += engine.step()
    for event in found:
        assert not isinstance(event, FailedRequest)
        events[event.index].append(event)
    return events


def assert_same(actual: list[TokenEvent], expected: list[TokenEvent], *, exact: bool) -> None:
    assert [it.token for it in actual] == [it.token for it in expected]
    values, others = ([it.logprob or 0.0 for it in events] for events in (actual, expected))
    np.testing.assert_allclose(values, others, rtol=0, atol=0 if exact else 1e-4)


def save_adapters(folder: Path) -> dict[str, Path]:
    """Save random adapters of the tiny model in folders, which are returned by name."""
    reference = placed(tiny_folder("llama"), "torch")
    for name, options in OPTIONS.items():
        save_random_adapter(reference, folder / name, name=name, **options)
    save_random_adapter(reference, folder / "embedding", name="embedding", targets=["embed_tokens", "q_proj"])
    return {name: folder / name for name in (*OPTIONS, "embedding")}


def with_adapters(engine: str, folders: dict[str, Path]) -> LLM:
    """Return the tiny model with the adapters of linear layers, of which none is active."""
    llm = placed(tiny_folder("llama"), engine)
    for name in OPTIONS:
        llm.load_adapter(folders[name], name)
    llm.set_adapter(None)
    return llm


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_adapters(tmp_path_factory.mktemp("adapters"))


@pytest.fixture(params=ENGINES)
def llm(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Iterator[LLM]:
    llm = with_adapters(request.param, folders)
    yield llm
    llm.close()


def is_exact(llm: LLM) -> bool:
    return isinstance(llm._current_generator(), NativeGenerator)


def check_mixed_batch(llm: LLM) -> list[list[TokenEvent]]:
    """Check that requests get the answers of the active adapter, and return these."""
    mixed = answers(llm._generator(), *(request(name, at) for at, name in enumerate(NAMES)))
    for at, name in enumerate(NAMES):
        llm.set_adapter(name)
        (alone,) = answers(llm._generator(), request(None, at, cache_prompt=False))
        assert_same(mixed[at], alone, exact=is_exact(llm))
    return mixed


def test_a_batch_of_several_adapters_gives_what_each_gives_when_it_is_active(llm: LLM) -> None:
    mixed = check_mixed_batch(llm)
    assert len({tuple(it.token for it in events) for events in mixed[:3]}) == 3


def test_the_active_adapter_has_no_influence_on_requests_that_name_one(llm: LLM) -> None:
    before = answers(llm._generator(), *(request(name) for name in ("a", "b")))
    llm.set_adapter("c")
    active, *after = answers(llm._generator(), *(request(name) for name in (None, "a", "b", "c")))
    for actual, expected in zip(after, [*before, active], strict=True):
        assert_same(actual, expected, exact=is_exact(llm))


def test_a_prefix_is_shared_only_by_requests_with_the_same_adapter(llm: LLM) -> None:
    names = ("a", "b", None)
    first = answers(llm._generator(), *(request(name) for name in names))
    again = answers(llm._generator(), *(request(name) for name in names))
    assert [events[0].cached_tokens for events in first] == [0, 0, 0]
    assert [events[0].cached_tokens for events in again] == [len(PROMPT)] * 3
    for actual, expected in zip(again, first, strict=True):
        assert_same(actual, expected, exact=is_exact(llm))


def test_an_adapter_that_is_deleted_or_replaced_is_used_until_its_requests_end(
    llm: LLM, folders: dict[str, Path]
) -> None:
    expected = answers(llm._generator(), *(request(name) for name in ("a", "b", "c")))
    engine = llm._generator().open()
    running = [engine.add(request("a")), engine.add(request("b"))]
    earlier = engine.step()
    llm.delete_adapter("a")
    earlier += engine.step()
    llm.load_adapter(folders["c"], "a")
    llm.set_adapter(None)
    later = engine.add(request("a"))
    llm.delete_adapter("b")
    with pytest.raises(InvalidArgument, match=r"adapter must be one of 'c', 'a', not 'b'"):
        engine.add(request("b"))
    events = drained(engine, *running, later, earlier=earlier)
    for index, alone in zip((*running, later), expected, strict=True):
        assert_same(events[index], alone, exact=is_exact(llm))
    assert events[later][0].cached_tokens == 0


def test_an_adapter_that_is_loaded_later_can_be_used_in_an_open_engine(
    llm: LLM, folders: dict[str, Path]
) -> None:
    engine = llm._generator().open()
    llm.load_adapter(folders["a"], "late")
    llm.set_adapter(None)
    added = engine.add(request("late"))
    (expected,) = answers(llm._generator(), request("a"))
    assert_same(drained(engine, added)[added], expected, exact=is_exact(llm))


def test_the_memory_of_a_deleted_adapter_is_freed_when_its_requests_have_ended(llm: LLM) -> None:
    engine = llm._generator().open()
    added = engine.add(request("a"))
    adapter = weakref.ref(next(iter(engine._sequences.values())).adapter)
    earlier = engine.step()
    llm.delete_adapter("a")
    llm.set_adapter("b")
    gc.collect()
    assert adapter() is not None
    drained(engine, added, earlier=earlier)
    gc.collect()
    assert adapter() is None


def test_adapters_on_quantized_weights_share_a_batch(folders: dict[str, Path]) -> None:
    llm = placed(tiny_folder("llama"), "native", precision=None, quantize="int4")
    for name in OPTIONS:
        llm.load_adapter(folders[name], name)
    llm.set_adapter(None)
    check_mixed_batch(llm)


def test_adapters_share_one_copy_of_their_matrices() -> None:
    """An adapter that is active and named by requests of several engines is packed once."""
    llm = placed(tiny_folder("llama"), "native")
    llm.add_lora(name="a")
    found = [llm._current_generator(), llm._current_generator()]
    assert all(isinstance(it, NativeGenerator) for it in found)
    engines = [it.open() for it in found]
    for engine in engines:
        engine.add(request("a"))
    llm.set_adapter(None)
    engines.append(llm._generator().open())
    engines[-1].add(request("a"))
    adapters = {id(it.adapter) for engine in engines for it in engine._sequences.values()}
    assert len(adapters) == 1


def test_requests_differ_in_their_adapters() -> None:
    assert request("a") != attrs.evolve(request("a"), adapter="b")
    with pytest.raises(Exception, match="adapter must be a string or None"):
        GenerationRequest(prompt=[1], adapter=1)  # type: ignore[arg-type]


def test_a_trained_adapter_is_used_as_it_is_now() -> None:
    llm = placed(tiny_folder("llama"), "native")
    llm.add_lora(name="a", targets="all-linear")
    (before,) = answers(llm._generator(), request("a"))
    with torch.no_grad():
        for weight in llm.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight), alpha=0.3)
    after = answers(llm._generator(), request("a"), request(None))
    assert [it.token for it in before] != [it.token for it in after[0]]
    assert_same(*after, exact=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_batch_of_several_adapters_gives_what_peft_gives(engine: str, folders: dict[str, Path]) -> None:
    from peft import PeftModel

    names = ("a", "b", "c")
    model = PeftModel.from_pretrained(reference(tiny_folder("llama")), folders["a"], adapter_name="a")
    for name in names[1:]:
        model.load_adapter(folders[name], adapter_name=name)
    mixed = answers(with_adapters(engine, folders)._generator(), *map(request, names))
    for name, events in zip(names, mixed, strict=True):
        model.set_adapter(name)
        tokens = [event.token for event in events]
        with torch.inference_mode():
            logits = model(torch.tensor([[*PROMPT, 1, *tokens]])).logits[0, len(PROMPT) : -1]
        expected = logits.log_softmax(-1)
        assert tokens == expected.argmax(-1).tolist()
        own = [event.logprob or 0.0 for event in events]
        np.testing.assert_allclose(own, expected.max(-1).values, rtol=0, atol=1e-4)
