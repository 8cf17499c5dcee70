"""Tests of the thresholds of the garbage collector while models are loaded."""

import gc
from collections.abc import Iterator

import pytest
from dependency_injector import providers

from litgpt import LLM
from litgpt.container import container
from litgpt.domain.errors import LitGPTError
from litgpt.domain.reference import ModelReference
from litgpt.garbage_collection import OBJECTS, rare_garbage_collection
from tests.adapters.tiny_models import tiny_folder

USUAL = (700, 10, 10)


@pytest.fixture(autouse=True)
def usual_threshold() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*USUAL)
    yield
    gc.set_threshold(*before)


def test_a_load_collects_rarely_and_restores_the_threshold() -> None:
    during: list[object] = []
    store = container.store()

    class Store:
        def open(self, reference: ModelReference) -> object:
            during.append(gc.get_threshold())
            return store.open(reference)

    with container.store.override(providers.Object(Store())):
        LLM.load(str(tiny_folder("llama")), distribute=None, quiet=True).close()
    assert during == [(OBJECTS, *USUAL[1:])]
    assert gc.get_threshold() == USUAL
    with pytest.raises(LitGPTError):
        LLM.load("no/such", offline=True)
    assert gc.get_threshold() == USUAL


def test_concurrent_loads_restore_the_threshold_after_the_last_one() -> None:
    with rare_garbage_collection:
        with rare_garbage_collection:
            assert gc.get_threshold() == (OBJECTS, *USUAL[1:])
        assert gc.get_threshold() == (OBJECTS, *USUAL[1:])
    assert gc.get_threshold() == USUAL


@pytest.mark.parametrize("of_the_user", [(0, 10, 10), (2 * OBJECTS, 5, 5)])
def test_rarer_or_no_collections_of_the_user_stay(of_the_user: tuple[int, int, int]) -> None:
    gc.set_threshold(*of_the_user)
    with rare_garbage_collection:
        assert gc.get_threshold() == of_the_user
    assert gc.get_threshold() == of_the_user


def test_a_threshold_set_meanwhile_stays() -> None:
    with rare_garbage_collection:
        gc.set_threshold(1_000)
    assert gc.get_threshold()[0] == 1_000
