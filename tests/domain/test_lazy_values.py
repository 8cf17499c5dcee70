"""Tests of values that are imported when they are read."""

import pytest

from litgpt.domain.families import FAMILIES
from litgpt.domain.lazy_values import LazyValues


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_family_has_the_name_under_which_it_is_listed(model_type: str) -> None:
    assert FAMILIES[model_type].model_type == model_type


def test_it_is_a_mapping() -> None:
    values: LazyValues[object] = LazyValues("litgpt.domain", {"llama": "families.llama:LLAMA"})
    assert (len(values), list(values), "llama" in values, "alpaca" in values) == (1, ["llama"], True, False)
    assert values["llama"] is FAMILIES["llama"]
    with pytest.raises(KeyError):
        values["alpaca"]
