"""Every causal language model of transformers is a family, bridged, or refused with a reason."""

import pytest
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from litgpt.adapters.pytorch.bridge.config import model_class
from litgpt.domain.errors import UnsupportedModel
from litgpt.domain.families import FAMILIES
from litgpt.domain.families.multimodal import TEXT_MODEL_TYPES
from tests.agreement.models import VARIANTS
from tests.agreement.test_multimodal import WHOLES

OTHERS = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys() - FAMILIES.keys() - TEXT_MODEL_TYPES.keys())
KINDS = r"(an encoder|(part of )?an encoder-decoder|a multimodal|a speech|an audio|not causal|only drafts)"


def is_refused(model_type: str) -> bool:
    try:
        model_class("it", model_type)
    except UnsupportedModel:
        return True
    return False


REFUSED = [model_type for model_type in OTHERS if is_refused(model_type)]


@pytest.mark.parametrize("model_type", REFUSED)
def test_a_refusal_names_the_model_and_its_kind(model_type: str) -> None:
    with pytest.raises(UnsupportedModel, match=f"'{model_type}' is not a text decoder: it (is )?{KINDS}"):
        model_class("it", model_type)


@pytest.mark.parametrize("model_type", [model_type for model_type in OTHERS if model_type not in REFUSED])
def test_the_others_are_bridged(model_type: str) -> None:
    assert model_class("it", model_type).__name__ == MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type]


def test_each_family_of_the_table_is_compared_with_transformers() -> None:
    compared = {variant.family for variant in VARIANTS} | {text for _, text in WHOLES}
    assert FAMILIES.keys() - compared == set()
