"""What the models' own repositories say in settings that no other family has."""

from typing import Any

import pytest

from litgpt.domain.architecture import Architecture
from litgpt.domain.errors import UnsupportedModel
from litgpt.domain.families import describe
from tests.contracts.distribution_strategy import CONFIG


def described(model_type: str, **settings: Any) -> Architecture:
    """Return what a config means that has these settings beside the usual sizes."""
    return describe("x", CONFIG | {"model_type": model_type} | settings)


def test_hunyuans_base_grows_by_its_alpha_whatever_the_length_of_the_text() -> None:
    scaling = {
        "alpha": 1000.0,
        "beta_fast": 32,
        "beta_slow": 1,
        "factor": 1.0,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "type": "dynamic",
    }
    rotary = described("hunyuan_v1_dense", head_dim=128, rope_scaling=scaling).layers[0].mixer.rotary
    assert rotary is not None
    assert rotary.scaling is None
    assert rotary.base == pytest.approx(10000.0 * 1000.0 ** (128 / 126))
    with pytest.raises(UnsupportedModel, match="use_cla"):
        described("hunyuan_v1_dense", use_cla=True)


def test_minimax_says_how_many_numbers_of_a_head_are_rotated() -> None:
    settings = {"head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2}
    rotary = described("minimax_m2", rotary_dim=8, rope_theta=5000000, **settings).layers[0].mixer.rotary
    assert rotary is not None
    assert rotary.size == 8
    rotary = described("minimax_m2", **settings).layers[0].mixer.rotary
    assert rotary is not None
    assert rotary.size == 16


def test_exaone_has_positions_where_it_has_windows_and_everywhere_if_it_has_none() -> None:
    layers = described("exaone4", num_hidden_layers=4, sliding_window=4096).layers
    assert [one.mixer.window for one in layers] == [4096, 4096, 4096, None]
    assert [one.mixer.rotary is None for one in layers] == [False, False, False, True]
    layers = described("exaone4", sliding_window=None, sliding_window_pattern=None).layers
    assert {one.mixer.window for one in layers} == {None}
    assert not any(one.mixer.rotary is None for one in layers)
