"""Tests of published configs with settings that no other family has."""

from typing import Any

import pytest

from litgpt.domain.errors import CorruptFile, UnsupportedModel
from litgpt.domain.families import parse_config
from litgpt.domain.model import Architecture, FactorScaling, Llama3Scaling, MLPSpec
from tests.contracts.distribution_strategy import CONFIG


def described(model_type: str, **settings: Any) -> Architecture:
    """Return the architecture of a config with these settings and the usual sizes."""
    return parse_config("x", CONFIG | {"model_type": model_type} | settings)


def test_hunyuans_rope_base_is_scaled_by_alpha_at_any_length() -> None:
    scaling = {
        "alpha": 1000.0,
        "beta_fast": 32,
        "beta_slow": 1,
        "factor": 1.0,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "type": "dynamic",
    }
    rotary = described("hunyuan_v1_dense", head_dim=128, rope_scaling=scaling).layers[0].mixer.rope
    assert rotary is not None
    assert rotary.scaling is None
    assert rotary.theta == pytest.approx(10000.0 * 1000.0 ** (128 / 126))
    with pytest.raises(UnsupportedModel, match="use_cla"):
        described("hunyuan_v1_dense", use_cla=True)


def test_minimax_sets_the_rotated_dimensions_of_a_head() -> None:
    settings = {"head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2}
    rotary = described("minimax_m2", rotary_dim=8, rope_theta=5000000, **settings).layers[0].mixer.rope
    assert rotary is not None
    assert rotary.rotary_dim == 8
    rotary = described("minimax_m2", **settings).layers[0].mixer.rope
    assert rotary is not None
    assert rotary.rotary_dim == 16


def test_exaone_has_rope_in_windowed_layers_or_everywhere_without_windows() -> None:
    layers = described("exaone4", num_hidden_layers=4, sliding_window=4096).layers
    assert [layer.mixer.sliding_window for layer in layers] == [4096, 4096, 4096, None]
    assert [layer.mixer.rope is None for layer in layers] == [False, False, False, True]
    layers = described("exaone4", sliding_window=None, sliding_window_pattern=None).layers
    assert {layer.mixer.sliding_window for layer in layers} == {None}
    assert not any(layer.mixer.rope is None for layer in layers)


PHI_3_5_MOE = {
    "original_max_position_embeddings": 4096,
    "max_position_embeddings": 131072,
    "num_local_experts": 16,
    "rope_scaling": {
        "long_factor": [2.0, 3.0],
        "long_mscale": 1.243163121016122,
        "original_max_position_embeddings": 4096,
        "short_factor": [1.0, 1.5],
        "short_mscale": 1.1,
        "type": "longrope",
    },
}


def test_phi_3_5_moe_sets_its_longrope_attention_factors() -> None:
    rotary = described("phimoe", head_dim=4, **PHI_3_5_MOE).layers[0].mixer.rope
    assert rotary is not None
    assert rotary.for_length(4096).scaling == FactorScaling(factors=(1.0, 1.5), attention_factor=1.1)
    assert rotary.for_length(4097).scaling == FactorScaling(
        factors=(2.0, 3.0), attention_factor=1.243163121016122
    )


@pytest.mark.parametrize(
    ("model_type", "setting", "value"),
    [
        ("phimoe", "num_experts_per_tok", 3),
        ("phimoe", "rope_scaling", {"type": "linear", "factor": 2.0}),
        ("deepseek_v2", "topk_method", "noaux_tc"),
        ("deepseek_v2", "scoring_func", "sigmoid"),
        ("deepseek_v2", "moe_layer_freq", 2),
        ("deepseek_v2", "norm_topk_prob", True),
    ],
)
def test_unsupported_settings_are_refused(model_type: str, setting: str, value: object) -> None:
    key = "rope_type" if setting == "rope_scaling" else setting
    with pytest.raises(UnsupportedModel, match=key):
        described(model_type, **{setting: value})


def test_top_k_experts_cannot_exceed_the_selected_groups() -> None:
    latent = {f"qk_{name}_head_dim": 8 for name in ("nope", "rope")} | {"v_head_dim": 8, "kv_lora_rank": 8}
    experts = {"n_routed_experts": 8, "n_group": 4, "topk_group": 1, "topk_method": "group_limited_greedy"}
    with pytest.raises(CorruptFile, match="num_experts_per_tok must be at most 2"):
        described("deepseek_v2", num_experts_per_tok=3, **experts, **latent)


APERTUS_8B = {
    "hidden_act": "xielu",
    "mlp_bias": False,
    "post_norm": False,
    "qk_norm": True,
    "rope_scaling": {
        "factor": 8.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
        "type": "llama3",
    },
    "rope_theta": 12000000,
}


def test_apertus_has_its_rope_scaling_by_config_and_by_default() -> None:
    architecture = described("apertus", **APERTUS_8B)
    assert architecture == described("apertus", hidden_act="xielu")
    assert architecture.layers[0].mlp == MLPSpec(intermediate_size=24, activation="xielu")
    rotary = architecture.layers[0].mixer.rope
    assert rotary is not None
    assert rotary.theta == 12000000.0
    assert rotary.scaling == Llama3Scaling(
        factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position=8192
    )


def test_an_activation_with_parameters_is_refused_where_the_family_has_none() -> None:
    with pytest.raises(UnsupportedModel, match="xielu"):
        described("llama", hidden_act="xielu")
