"""Settings of families that published configs rarely have, and that change the result."""

from typing import Any

import attrs
import pytest

from litgpt.domain.errors import UnsupportedModel
from litgpt.domain.families import parse_config
from litgpt.domain.model import AttentionSpec
from tests.adapters.tiny_models import FAMILIES, SIZES


def attention(family: str, layer: int, **settings: Any) -> AttentionSpec:
    config = {"model_type": family, **SIZES, **FAMILIES[family], **settings}
    mixer = parse_config("it", config).layers[layer].mixer
    assert isinstance(mixer, AttentionSpec)
    return mixer


def test_the_layers_of_gpt_neo_are_those_of_attention_layers() -> None:
    kinds = {"attention_layers": ["local", "global", "global"], "num_layers": 3}
    windows = [attention("gpt_neo", layer, **kinds).sliding_window for layer in range(3)]
    assert windows == [8, None, None]


@pytest.mark.parametrize("family", ["granitemoe", "granitemoeshared"])
def test_without_a_multiplier_scores_have_the_usual_scale(family: str) -> None:
    mixer = attention(family, 0, attention_multiplier=None)
    assert mixer == attrs.evolve(mixer, scale=mixer.head_dim**-0.5)


@pytest.mark.parametrize("family", ["cohere2_moe", "gemma4_unified_text", "lfm3", "mellum", "mimo_v2_flash"])
def test_a_context_extension_that_transformers_does_not_apply_is_refused(family: str) -> None:
    config = {"model_type": family, **SIZES, **FAMILIES[family]}
    config |= {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}
    with pytest.raises(UnsupportedModel, match="rope_scaling"):
        parse_config("it", config)
