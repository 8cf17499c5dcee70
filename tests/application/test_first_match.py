import pytest

from litgpt.application.first_match import FirstMatch
from litgpt.domain.errors import HubUnreachable, ModelNotFound
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerFiles

MINE = TokenizerFiles({})


def has_it(_: ModelReference) -> TokenizerFiles:
    return MINE


def has_nothing(reference: ModelReference) -> TokenizerFiles:
    raise ModelNotFound(reference.name, ("a drawer",), similar=("mind",), hint="Look again.")


def is_closed(reference: ModelReference) -> TokenizerFiles:
    raise HubUnreachable(reference.name, "it is night.")


def test_the_search_ends_at_the_first_store_with_a_tokenizer() -> None:
    assert FirstMatch((has_nothing, has_it, is_closed))(ModelReference("mine")) is MINE


def test_not_found_errors_are_combined_with_all_places() -> None:
    with pytest.raises(ModelNotFound) as actual:
        FirstMatch((has_nothing, has_nothing))(ModelReference("mine"))
    assert str(actual.value) == (
        "There is no model 'mine'. Looked in: a drawer; a drawer. Did you mean mind? Look again. Look again."
    )


def test_an_unreachable_store_ends_the_search() -> None:
    with pytest.raises(HubUnreachable):
        FirstMatch((is_closed, has_it))(ModelReference("mine"))
