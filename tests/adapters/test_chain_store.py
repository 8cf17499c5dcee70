"""Tests of `ChainStore`: the order of the stores, and the error when none has the model."""

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from litgpt.adapters.checkpoints.chain_store import ChainStore
from litgpt.adapters.checkpoints.installed_store import InstalledModel, InstalledStore
from litgpt.adapters.checkpoints.local_store import LocalStore
from litgpt.domain.errors import (
    AccessDenied,
    CorruptFile,
    HubUnreachable,
    LitGPTError,
    MissingFile,
    ModelNotFound,
    NotInstalled,
)
from litgpt.domain.reference import ModelReference
from litgpt.testing import MemoryCheckpoint, MemoryStore, MemoryTensor
from tests.contracts.model_store import ModelStoreContract


def holding(*names: str) -> MemoryStore:
    return MemoryStore({name: MemoryCheckpoint() for name in names})


@attrs.define
class LocatedStore(MemoryStore):
    """A store whose errors name its location."""

    where: str = "another place"
    hint: str = ""

    @property
    def location(self) -> str:
        return self.where

    def open(self, reference: ModelReference) -> MemoryCheckpoint:
        try:
            return super().open(reference)
        except ModelNotFound as error:
            raise ModelNotFound(reference.name, hint=self.hint) from error


@attrs.define
class FailingStore:
    """A store whose every call raises."""

    error: Exception
    location: str = "a place in trouble"

    def names(self) -> Iterator[str]:
        yield "one-name"
        raise self.error

    def open(self, _: ModelReference) -> MemoryCheckpoint:
        raise self.error


def not_found(*stores: Any, name: str) -> ModelNotFound:
    with pytest.raises(ModelNotFound) as caught:
        ChainStore(stores).open(ModelReference(name))
    return caught.value


class TestChainStore(ModelStoreContract):
    has_stored_bytes = False

    @pytest.fixture
    def store(self) -> ChainStore[Any]:
        tiny = MemoryCheckpoint({"model_type": "llama"}, {"model.norm.weight": MemoryTensor((4,))})
        return ChainStore((holding("other"), MemoryStore({"tiny": tiny}), LocalStore()))


def test_the_first_store_with_the_model_opens_it() -> None:
    empty, first, second = holding(), holding("m"), holding("m")
    opened = ChainStore((empty, first, second)).open(ModelReference("m"))
    assert opened.source is first.models["m"].source
    assert len(empty.references) == 1
    assert second.references == []


def test_each_store_gets_the_callers_request() -> None:
    store = holding("m")
    reference = ModelReference("m", revision="v1", offline=True, token="secret")  # noqa: S106
    ChainStore((holding(), store)).open(reference)
    assert store.references == [reference]


@pytest.mark.parametrize(
    "error",
    [
        CorruptFile("model.safetensors", "it is cut short."),
        MissingFile("config.json", "it is not there."),  # a FileNotFoundError, as ModelNotFound is
        AccessDenied("m", "accept its licence"),
        HubUnreachable("m", "no route."),
        NotInstalled("The model m", "m", "pip install m"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_other_than_not_found_ends_the_search(error: LitGPTError) -> None:
    later = holding("m")
    with pytest.raises(type(error)) as caught:
        ChainStore((holding(), FailingStore(error), later)).open(ModelReference("m"))
    assert caught.value is error
    assert later.references == []


def test_a_missing_package_is_reported_before_the_hub_is_contacted() -> None:
    model = InstalledModel(name="m", module="no_such_module", distribution="m", command="pip install m")
    hub = holding("m")
    with pytest.raises(NotInstalled, match="pip install m"):
        ChainStore((InstalledStore((model,)), hub)).open(ModelReference("m"))
    assert hub.references == []


def test_the_not_found_error_lists_the_places_of_all_stores() -> None:
    error = not_found(holding(), LocatedStore(hint="Ask someone."), LocatedStore(where="a third"), name="m")
    assert list(error.searched) == ["models in memory", "another place", "a third"]
    assert str(error).endswith("Ask someone.")


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        ("smolm2", "smollm2"),
        ("SmolLM2", "smollm2"),
        ("pythia160m", "EleutherAI/pythia-160m"),
        ("elutherai/pythia-160m", "EleutherAI/pythia-160m"),
        ("EleutherAI/phytia-160m", "EleutherAI/pythia-160m"),
        ("wrong-org/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B"),
        ("smolm2-1.7b", "HuggingFaceTB/SmolLM2-1.7B"),
    ],
)
def test_a_similar_name_is_suggested(requested: str, expected: str) -> None:
    known = (
        holding("smollm2"),
        holding("EleutherAI/pythia-160m", "Qwen/Qwen2.5-0.5B", "HuggingFaceTB/SmolLM2-1.7B"),
    )
    error = not_found(*known, name=requested)
    assert error.similar[0] == expected
    assert f"Did you mean {expected}" in str(error)


def test_a_dissimilar_name_gets_no_suggestion() -> None:
    assert not_found(holding("smollm2"), name="zzzzzz").similar == ()


def test_suggestions_are_few_and_each_is_made_once() -> None:
    names = [f"pythia-{size}m" for size in (14, 31, 70, 160, 410)]
    similar = not_found(holding(*names), holding(*names), name="pythia-15m").similar
    assert len(similar) == len(set(similar)) == 3


def test_a_store_that_cannot_list_its_names_does_not_hide_that_nothing_was_found() -> None:
    @attrs.define
    class Unlisted(FailingStore):
        def open(self, _: ModelReference) -> MemoryCheckpoint:
            raise ModelNotFound("model-b", searched=("the unlisted",))

    error = not_found(Unlisted(OSError("no such cache")), holding("model-a"), name="model-b")
    assert list(error.similar) == ["model-a"]


def test_a_store_without_end_of_names_is_not_listed_to_the_end() -> None:
    drawn = 0

    class Endless(MemoryStore):
        def names(self) -> Iterator[str]:
            nonlocal drawn
            while True:
                drawn += 1
                yield f"name-{drawn}"

    assert not_found(Endless(), name="zzzzzz").similar == ()
    assert drawn < 10_000


def test_names_are_each_listed_once_in_the_order_of_the_stores() -> None:
    assert list(ChainStore((holding("b", "a"), holding("a", "c"))).names()) == ["b", "a", "c"]


def test_an_empty_chain_finds_nothing() -> None:
    assert not_found(name="m").searched == ()
