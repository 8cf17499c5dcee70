"""Every causal language model of transformers is in this library's table, bridged, or refused with a reason."""

import pytest
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from litgpt.adapters.pytorch.bridge.config import model_class
from litgpt.domain.errors import UnsupportedModel
from litgpt.domain.families import FAMILIES
from litgpt.domain.families.multimodal import TEXT_MODEL_TYPES
from tests.agreement.models import VARIANTS
from tests.agreement.test_multimodal import WHOLES

OTHERS = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys() - FAMILIES.keys() - TEXT_MODEL_TYPES.keys())
KINDS = "an encoder|part of an encoder-decoder|multimodal|speech|audio|not causal|only drafts"


@pytest.mark.parametrize("model_type", OTHERS)
def test_another_model_is_bridged_or_refused_by_name(model_type: str) -> None:
    try:
        kind = model_class("it", model_type)
    except UnsupportedModel as error:
        assert model_type in error.reason
        assert any(reason in error.reason for reason in KINDS.split("|"))
    else:
        assert kind.__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()


def test_each_family_of_the_table_is_compared_with_transformers() -> None:
    compared = {variant.family for variant in VARIANTS} | {text for _, text in WHOLES}
    assert FAMILIES.keys() - compared == set()
