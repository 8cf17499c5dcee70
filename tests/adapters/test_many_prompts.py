"""Tests of long lists of prompts: the batch is refilled, and each prompt gets the answer it gets alone."""

import pytest
import torch

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.pytorch.distribution.layer_split import LayerSplit
from litgpt.adapters.pytorch.generation import model_runner
from litgpt.adapters.pytorch.generation.generator import TorchGenerator
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.families import resolve_model
from litgpt.domain.generation.errors import NonFiniteLogits
from litgpt.domain.generation.request import GenerationRequest, TokenEvent
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.progress import null_reporter
from litgpt.domain.scheduling.scheduler import StepLimits
from tests.adapters.tiny_models import tiny_folder


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> GPT:
    """Return a network with a batch size of four prompts."""
    monkeypatch.setattr(model_runner, "_LIMITS", StepLimits(max_sequences=4, max_draft_tokens=0))
    return load("llama")


def load(family: str) -> GPT:
    checkpoint = open_hf_folder(tiny_folder(family), "tiny")
    resolved = resolve_model("tiny", checkpoint.config, checkpoint.tensors)
    placement = Placement(devices=("cpu",), dtype="float32")
    return (
        LayerSplit()
        .build(placement, resolved.architecture, resolved.sources, checkpoint, null_reporter)
        .network
    )


def requests(count: int) -> list[GenerationRequest]:
    return [
        GenerationRequest(
            prompt=[3 + number, *range(5, 6 + number % 5)],
            max_new_tokens=number % 4,
            sampling_params=SamplingParams(temperature=1.0, seed=number),
            stop_token_ids=frozenset(),
        )
        for number in range(count)
    ]


def answers(events: list[TokenEvent]) -> dict[int, list[int]]:
    results: dict[int, list[int]] = {}
    for event in events:
        results.setdefault(event.index, []).append(event.token)
    return results


@pytest.mark.parametrize("kv_cache_size", [None, 16])
def test_each_prompt_of_a_long_list_gets_its_individual_answer(model: GPT, kv_cache_size: int | None) -> None:
    generator = TorchGenerator(model, kv_cache_size)
    alone = {
        number: answers(list(generator.generate([request])))[0]
        for number, request in enumerate(requests(22))
        if request.max_new_tokens
    }
    events = list(generator.generate(requests(22)))
    assert answers(events) == alone
    begun: list[int] = []
    finished = 0
    for event in events:
        if event.index not in begun:
            begun.append(event.index)
        finished += event.finish_reason is not None
        assert len(begun) - finished <= 4
    # Those that begin in the same step begin with the longest.
    assert sorted(begun[:4]) == sorted(alone)[:4]
    assert max(at - sorted(alone).index(index) for at, index in enumerate(begun)) <= 3


def test_waiting_prompts_take_the_places_of_finished_ones(model: GPT) -> None:
    sizes: list[int] = []
    handle = model.register_forward_pre_hook(lambda _, arguments: sizes.append(len(arguments[0])))
    lengths = (12, 2, 3, 4, 5, 2, 2)
    prompts = [
        GenerationRequest(prompt=[3 + at, 5, 6], max_new_tokens=length) for at, length in enumerate(lengths)
    ]
    events = list(TorchGenerator(model).generate(prompts))
    handle.remove()
    assert {index: len(ids) for index, ids in answers(events).items()} == dict(enumerate(lengths))
    # Prefills, of four prompts and then of one each, and decode steps of the others.
    assert sizes == [4, 4, 3, 1, 3, 1, 3, 1, 3, 2, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_long_prompt_that_is_finished_leaves_the_longest_answers_to_the_others(family: str) -> None:
    model = load(family)
    context = model.architecture.context_length
    prompts = [
        GenerationRequest(prompt=[5] * (context - 2), max_new_tokens=2),
        *(GenerationRequest(prompt=[6 + at], max_new_tokens=context - 1) for at in range(5)),
    ]
    events = answers(list(TorchGenerator(model).generate(prompts)))
    assert [len(ids) for _, ids in sorted(events.items())] == [2, *[context - 1] * 5]


def test_closing_while_prompts_wait_ends_all(model: GPT) -> None:
    generation = TorchGenerator(model).generate(requests(22))
    for _ in range(9):
        next(generation)
    generation.close()
    assert list(generation) == []


def test_a_prompt_that_waited_is_named_by_its_place_in_the_list(model: GPT) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()  # files are mapped
    model.get_parameter("transformer.wte.weight").data[3 + 21] = torch.nan
    with pytest.raises(NonFiniteLogits, match="for prompt 21 "):
        list(TorchGenerator(model).generate(requests(22)))
