"""Tests of the prefix cache of models whose sequences cannot be truncated, through the engine."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from litgpt.adapters.native.generator import NativeGenerator
from litgpt.domain.generation.request import GenerationRequest
from tests.agreement.models import VARIANTS, pair, random_ids
from tests.agreement.test_native_engine import native
from tests.contracts.generator import GREEDY


@pytest.mark.parametrize("name", ["qwen3_next", "qwen3_5", "mistral"])
def test_answers_with_a_shared_beginning_equal_those_without_a_cache(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    variant = next(each for each in VARIANTS if each.name == name)
    model = native(pair(variant, tmp_path_factory.mktemp("prefix")).actual)
    generator = NativeGenerator(model, lambda: 0)
    system = random_ids(1, 60)[0].tolist()
    ends = ([5, 6, 7], [8, 9], [8, 9], [10], [8, 9, 11])
    for prompt in (*([*system, *end] for end in ends), system[:50], [*system, 12]):
        request = GenerationRequest(prompt=prompt, max_new_tokens=8, sampling_params=GREEDY, logprobs=True)
        alone = list(NativeGenerator(model, lambda: 0).generate([request]))
        for _ in range(2):
            events = list(generator.generate([request]))
            assert events == alone
    assert events[0].cached_tokens >= 60


def test_a_fork_during_a_step_has_the_state_of_its_length(tmp_path_factory: pytest.TempPathFactory) -> None:
    variant = next(each for each in VARIANTS if each.name == "qwen3_next")
    model = native(pair(variant, tmp_path_factory.mktemp("fork")).actual)
    ids = random_ids(1, 60)[0].tolist()
    with ThreadPoolExecutor(1) as pool:
        for _ in range(20):
            sequence = model.new_sequence()
            model.step([(sequence, ids[:8])])
            step = pool.submit(model.step, [(sequence, ids[8:])])
            forks = [sequence.fork()]
            while not step.done():
                forks.append(sequence.fork())
            for fork in forks:
                alone, length = model.new_sequence(), fork.length
                assert length in (8, len(ids))
                model.step([(alone, ids[:length])])
                assert np.array_equal(model.step([(fork, [5])]), model.step([(alone, [5])]))
                fork.close()
