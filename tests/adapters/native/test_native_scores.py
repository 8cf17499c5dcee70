"""Log-probabilities that the native engine computes while the head's output is in the cache."""

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from litgpt.adapters.native.library import load_library
from litgpt.adapters.native.model import NativeModel
from litgpt.domain.errors import UnsupportedOperation
from tests.adapters.native.kernel_library import instruction_sets, int64, kernel_library, pointer
from tests.agreement.models import VARIANTS, pair, random_ids
from tests.agreement.test_native_engine import native

SCALED = ("cohere", "gemma2", "llama")
"""Families that scale the logits, cap them, and do neither."""


class ExpSum(ctypes.Structure):
    _fields_ = (("max", ctypes.c_float), ("sum", ctypes.c_float))


def exp_sum(values: NDArray[np.float32]) -> ExpSum:
    function = kernel_library().test_exp_sum
    function.restype = ExpSum
    found: ExpSum = function(pointer(values), int64(len(values)))
    return found


@pytest.mark.parametrize("size", [1, 3, 16, 17, 255, 256])
def test_sums_of_exponentials_are_accurate_to_1e_6(size: int) -> None:
    values = (10 * np.random.default_rng(size).standard_normal(size)).astype(np.float32)
    values[0] = -np.inf if size > 1 else values[0]
    expected = np.exp(values.astype(np.float64) - values.max()).sum()
    for _ in instruction_sets():
        found = exp_sum(values)
        assert found.max == values.max()
        assert found.sum == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("at", [0, 15, 16, 20])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_sums_with_values_that_are_not_finite_are_nan(at: int, value: float) -> None:
    values = np.zeros(21, np.float32)
    values[at] = value
    for _ in instruction_sets():
        assert np.isnan(exp_sum(values).sum)
        assert exp_sum(np.full(21, -np.inf, np.float32)).sum == 0


@pytest.fixture(scope="module", params=SCALED)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NativeModel:
    variant = next(it for it in VARIANTS if it.name == request.param)
    return native(pair(variant, tmp_path_factory.mktemp("scores")).actual)


@pytest.fixture
def one_thread_afterwards() -> Iterator[None]:
    before = load_library().litgpt_threads()
    yield
    load_library().litgpt_set_threads(before)


def test_scores_are_those_of_the_logits_in_float64(model: NativeModel) -> None:
    ids = random_ids(4, 30).tolist()
    rows, targets = list(range(3, 118)), [7 * at % model.architecture.vocab_size for at in range(115)]
    logits = model.step([(model.new_sequence(30), row) for row in ids], rows).astype(np.float64)
    targets[::9] = logits[::9].argmax(-1).tolist()
    logprobs, greedy = model.scores([(model.new_sequence(30), row) for row in ids], rows, targets)
    largest = logits.max(-1)
    own = logits[np.arange(len(rows)), targets]
    expected = own - largest - np.log(np.exp(logits - largest[:, None]).sum(-1))
    assert np.abs(logprobs - expected).max() < 1e-6
    assert np.array_equal(greedy, own == largest)
    assert sum(greedy) >= 13


@pytest.mark.usefixtures("one_thread_afterwards")
def test_scores_do_not_depend_on_threads_and_other_tokens(model: NativeModel) -> None:
    ids = random_ids(5, 40).tolist()
    alone = [model.scores([(model.new_sequence(40), row)], range(40), row)[0] for row in ids]
    for count in (1, 2, 3):
        assert load_library().litgpt_set_threads(count) == 0
        batch = [(model.new_sequence(40), row) for row in ids]
        together, _ = model.scores(batch, range(200), [token for row in ids for token in row])
        assert np.array_equal(together, np.concatenate(alone))


def test_tokens_outside_the_vocabulary_are_refused(model: NativeModel) -> None:
    for target in (-1, model.architecture.vocab_size):
        with pytest.raises(UnsupportedOperation, match="outside the vocabulary"):
            model.scores([(model.new_sequence(3), [1, 2, 3])], [2], [target])
