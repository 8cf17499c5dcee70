"""The states of gated delta networks in the native engine: shared, copied before they change, and freed."""

import gc

import numpy as np
import pytest

from litgpt.adapters.native.library import load_library
from litgpt.adapters.native.model import NativeModel
from tests.agreement.models import Variant, pair
from tests.agreement.test_native_engine import native

TOKENS = list(range(3, 20))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> NativeModel:
    """A model without a KV cache: all layers are gated delta networks."""
    variant = Variant("linear", "qwen3_5_text", {"layer_types": ["linear_attention"] * 3})
    return native(pair(variant, tmp_path_factory.mktemp("states")).actual)


def used_bytes() -> int:
    gc.collect()
    return int(load_library().litgpt_cache_bytes())


def test_memory_depends_on_neither_the_number_of_tokens_nor_that_of_forks(model: NativeModel) -> None:
    sequence = model.new_sequence()
    assert model.step([(sequence, TOKENS)]).any()
    before = used_bytes()
    forks = [sequence.fork() for _ in range(50)]
    for _ in range(2):
        model.step([(sequence, TOKENS)])
    one_copy = used_bytes() - before  # forks share the old states
    assert 0 <= one_copy <= before
    again = sequence.fork()
    sequence.close()
    model.step([(again, TOKENS)])  # the only user of its states: they are not copied
    assert used_bytes() == before + one_copy
    for fork in forks:
        fork.close()


def test_a_sequence_that_is_emptied_begins_with_zeros(model: NativeModel) -> None:
    sequence = model.new_sequence()
    first = model.step([(sequence, TOKENS)])
    fork = sequence.fork()
    sequence.truncate(0)
    assert (model.step([(sequence, TOKENS)]) == first).all()
    fork.truncate(0)
    empty = fork.fork()
    assert (model.step([(empty, TOKENS), (fork, TOKENS)]) == first).all()


def test_an_error_of_a_step_changes_no_state(model: NativeModel) -> None:
    sequence, other = model.new_sequence(), model.new_sequence()
    model.step([(sequence, TOKENS)])
    expected = model.step([(sequence.fork(), TOKENS)])
    for wrong in ([(sequence, TOKENS), (other, [-1])], [(sequence, [10**6])], [(sequence, TOKENS * 1000)]):
        with pytest.raises(Exception, match=r"vocabulary|context length"):
            model.step(wrong)
    assert sequence.length == len(TOKENS)
    assert (model.step([(sequence, TOKENS)]) == expected).all()


def test_logits_do_not_depend_on_the_number_of_threads(model: NativeModel) -> None:
    library, results = load_library(), []
    before = library.litgpt_threads()
    try:
        for threads in (1, 2, 5):
            assert library.litgpt_set_threads(threads) == 0
            sequences = [model.new_sequence() for _ in range(3)]
            prompts = (TOKENS, TOKENS[:1], TOKENS[:5])
            results.append(model.step(list(zip(sequences, prompts, strict=True))))
            results[-1] = np.concatenate([results[-1], model.step([(it, [7]) for it in sequences])])
    finally:
        library.litgpt_set_threads(before)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])
