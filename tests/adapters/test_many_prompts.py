"""Tests of long lists of prompts: computed in batches, with the answers that each prompt gets alone."""

from typing import Any

import pytest
import torch

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.pytorch.distribution.layer_split import LayerSplit
from litgpt.adapters.pytorch.generation import generator as module
from litgpt.adapters.pytorch.generation.generator import TorchGenerator
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.families import resolve_model
from litgpt.domain.generation.errors import NonFiniteLogits
from litgpt.domain.generation.request import GenerationRequest, TokenEvent
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.progress import null_reporter
from tests.adapters.tiny_models import tiny_folder


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> GPT:
    """Return a network with a batch size of four prompts."""
    monkeypatch.setattr(module, "MAX_SEQUENCES", 4)
    checkpoint = open_hf_folder(tiny_folder("llama"), "tiny")
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
def test_each_prompt_of_a_long_list_gets_its_individual_answer(
    model: GPT, monkeypatch: pytest.MonkeyPatch, kv_cache_size: int | None
) -> None:
    generator = TorchGenerator(model, kv_cache_size)
    alone = {
        number: answers(list(generator.generate([request])))[0]
        for number, request in enumerate(requests(22))
        if request.max_new_tokens
    }
    sizes: list[int] = []
    real = model.empty_cache

    def empty_cache(**arguments: Any) -> Any:
        sizes.append(len(arguments["row_offsets"]))
        return real(**arguments)

    monkeypatch.setattr(model, "empty_cache", empty_cache)
    generation = generator.generate(requests(22))
    assert sizes == [4]  # the rest waits
    events = list(generation)
    assert answers(events) == alone
    assert sizes == [4, 4, 4, 4]
    batches = [sorted(alone).index(event.index) // 4 for event in events]
    assert batches == sorted(batches)


def test_closing_between_two_batches_ends_all(model: GPT) -> None:
    generation = TorchGenerator(model).generate(requests(22))
    for _ in range(9):
        next(generation)
    generation.close()
    assert list(generation) == []


def test_a_prompt_of_a_later_batch_is_named_by_its_place_in_the_list(model: GPT) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()  # files are mapped
    model.get_parameter("transformer.wte.weight").data[3 + 21] = torch.nan
    with pytest.raises(NonFiniteLogits, match="for prompt 21 "):
        list(TorchGenerator(model).generate(requests(22)))
