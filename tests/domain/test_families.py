from typing import Any

import attrs
import pytest

from litgpt.domain.catalogue import config_for
from litgpt.domain.errors import CorruptFile, LitGPTError, UnsupportedModel
from litgpt.domain.families import parse_config
from litgpt.domain.families.olmo import OLMO2
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.model import (
    Architecture,
    AttentionSpec,
    AttentionTemperature,
    LinearScaling,
    Llama3Scaling,
    MoESpec,
    RopeSpec,
)
from tests.contracts.distribution_strategy import CONFIG

LLAMA_3_1 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}
GEMMA_3_1B = {
    "model_type": "gemma3_text",
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 1152,
    "intermediate_size": 6912,
    "max_position_embeddings": 32768,
    "num_attention_heads": 4,
    "num_hidden_layers": 26,
    "num_key_value_heads": 1,
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": 512,
    "sliding_window_pattern": 6,
    "vocab_size": 262144,
}


def rotary_of(model: Architecture, layer: int) -> RopeSpec:
    actual = model.layers[layer].mixer.rope
    assert actual is not None
    return actual


def test_scaling_is_read_as_older_and_newer_files_write_it() -> None:
    older = parse_config("x", CONFIG | {"rope_theta": 500000.0, "rope_scaling": LLAMA_3_1})
    newer = parse_config("x", CONFIG | {"rope_parameters": LLAMA_3_1 | {"rope_theta": 500000.0}})
    rotary = rotary_of(older, 0)
    assert older == newer
    assert rotary.theta == 500000.0
    assert isinstance(rotary.scaling, Llama3Scaling)
    assert rotary.scaling.original_max_position == 8192


def test_the_oldest_files_call_the_type_type() -> None:
    model = parse_config("x", CONFIG | {"rope_scaling": {"type": "linear", "factor": 2.0}})
    assert rotary_of(model, 0).scaling == LinearScaling(factor=2.0)


def test_gemma_3_has_five_windowed_layers_per_full_one_each_with_its_own_rope_base() -> None:
    model = parse_config("google/gemma-3-1b-it", GEMMA_3_1B)
    windows = [layer.mixer.sliding_window for layer in model.layers]
    assert windows == ([512] * 5 + [None]) * 4 + [512] * 2
    bases = [rotary_of(model, number).theta for number in range(26)]
    assert bases == [10000.0 if window else 1000000.0 for window in windows]


def test_multimodal_gemma_3_is_recognized_by_its_own_settings() -> None:
    text = {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    }
    four_b = parse_config("google/gemma-3-4b-it", {"model_type": "gemma3", "text_config": text})
    first = four_b.layers[0].mixer
    assert isinstance(first, AttentionSpec)
    assert (first.num_heads, first.num_kv_heads) == (8, 4)
    assert four_b.vocab_size == 262_208
    assert four_b.tie_word_embeddings
    assert rotary_of(four_b, 5).scaling == LinearScaling(factor=8.0)
    assert rotary_of(four_b, 4).scaling is None


def gemma_4(**settings: Any) -> Any:
    """Return the layers of a Gemma 4 with these layer settings, as on the Hub."""
    text = {
        **{name: CONFIG[name] for name in ("hidden_size", "num_attention_heads", "vocab_size")},
        "model_type": "gemma4_text",
        "num_hidden_layers": 12,
        "num_key_value_heads": 2,
        "intermediate_size": 32,
        "head_dim": 256,
        "global_head_dim": 512,
    }
    return parse_config("x", {"model_type": "gemma4", "text_config": text | settings}).layers


def test_gemma_4_full_attention_has_wider_heads_with_rope_on_a_quarter() -> None:
    windowed, full = (gemma_4()[at].mixer for at in (4, 5))
    assert (windowed.head_dim, windowed.sliding_window, windowed.rope.num_rotated_pairs) == (256, 512, None)
    assert (full.head_dim, full.sliding_window, full.rope.rotary_dim, full.rope.num_rotated_pairs) == (
        512,
        None,
        512,
        64,
    )
    assert (windowed.rope.theta, full.rope.theta) == (10_000.0, 1_000_000.0)


@pytest.mark.parametrize("spelling", ["rope_parameters", "rope_scaling"])
def test_ministral_3s_query_scaling_is_read_in_either_spelling(spelling: str) -> None:
    yarn = {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 16384}
    config = CONFIG | {"model_type": "ministral3", spelling: {**yarn, "llama_4_scaling_beta": 0.1}}
    mixer = parse_config("x", config).layers[0].mixer
    assert isinstance(mixer, AttentionSpec)
    assert mixer.attention_temperature == AttentionTemperature(scale=0.1, floor_scale=16384)


def test_gemma_4s_last_layers_share_kv_of_the_last_layer_of_their_kind() -> None:
    layers = gemma_4(num_kv_shared_layers=5, use_double_wide_mlp=True)
    assert [layer.mixer.kv_shared_layer for layer in layers] == [None] * 7 + [6, 6, 6, 6, 5]
    assert [layer.mlp.intermediate_size for layer in layers] == [32] * 7 + [64] * 5
    assert layers[7].mixer.cache_spec.numel_per_token == 0


@pytest.mark.parametrize("borrowers", [7, 12])
def test_kv_sharing_without_a_source_layer_is_refused(borrowers: int) -> None:
    with pytest.raises(CorruptFile, match="num_kv_shared_layers"):
        gemma_4(num_kv_shared_layers=borrowers)


def test_values_are_shared_with_keys_only_in_full_attention() -> None:
    layers = gemma_4(attention_k_eq_v=True, num_global_key_value_heads=1)
    assert [layer.mixer.shared_kv_projection for layer in layers] == ([False] * 5 + [True]) * 2
    assert [layer.mixer.num_kv_heads for layer in layers] == ([2] * 5 + [1]) * 2
    assert gemma_4(num_global_key_value_heads=1)[5].mixer.num_kv_heads == 2


def test_a_missing_number_of_experts_has_its_default() -> None:
    experts = parse_config("x", CONFIG | {"model_type": "mixtral"}).layers[0].mlp
    assert isinstance(experts, MoESpec)
    assert experts.num_experts == 8


def test_qwen_2_has_windows_only_if_they_are_switched_on_and_only_in_its_later_layers() -> None:
    config = CONFIG | {"model_type": "qwen2", "sliding_window": 32, "max_window_layers": 1}
    assert [layer.mixer.sliding_window for layer in parse_config("x", config).layers] == [None, None]
    switched_on = config | {"use_sliding_window": True}
    assert [layer.mixer.sliding_window for layer in parse_config("x", switched_on).layers] == [None, 32]


@pytest.mark.parametrize("family", ["mistral", "ministral3", "smollm3", "ernie4_5", "seed_oss"])
def test_a_null_number_of_kv_heads_means_multi_head_and_absence_the_default(family: str) -> None:
    config = CONFIG | {"model_type": family, "hidden_size": 128, "num_attention_heads": 16}
    absent = {name: value for name, value in config.items() if name != "num_key_value_heads"}
    mixer = parse_config("x", config | {"num_key_value_heads": None, "head_dim": None}).layers[0].mixer
    assert isinstance(mixer, AttentionSpec)
    assert (mixer.num_kv_heads, mixer.head_dim) == (16, 8)
    assert parse_config("x", absent).layers[0].mixer.num_kv_heads < 16


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"model_type": "zebra"}, UnsupportedModel, "'zebra'.*gemma3_text,.*llama,.*qwen2"),
        ({"model_type": None}, CorruptFile, "model_type"),
        ({"hidden_size": None}, CorruptFile, "hidden_size"),
        ({"hidden_size": "16"}, CorruptFile, "positive integer"),
        ({"num_hidden_layers": 0}, CorruptFile, "num_hidden_layers"),
        ({"num_key_value_heads": 3}, CorruptFile, "divisor"),
        ({"rms_norm_eps": -1}, CorruptFile, "rms_norm_eps"),
        ({"tie_word_embeddings": "yes"}, CorruptFile, "true or false"),
        ({"hidden_act": "mish"}, UnsupportedModel, "hidden_act = 'mish'"),
        ({"rope_scaling": {"rope_type": "spiral"}}, UnsupportedModel, "spiral"),
        ({"rope_scaling": {"rope_type": "longrope"}}, CorruptFile, "short_factor"),
        (
            {"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}},
            CorruptFile,
            "short_factor must be a list of",
        ),
        ({"rope_scaling": {"rope_type": "linear"}}, CorruptFile, "factor"),
        ({"rope_scaling": "linear"}, CorruptFile, "rope_scaling"),
        ({"quantization_config": {"quant_method": "gptq"}}, UnsupportedModel, "gptq"),
        ({"partial_rotary_factor": 0.5}, UnsupportedModel, "partial_rotary_factor"),
        (
            {"model_type": "gemma3_text", "use_bidirectional_attention": True},
            UnsupportedModel,
            "use_bidirectional_attention",
        ),
        (
            {"model_type": "mixtral", "num_local_experts": 2, "num_experts_per_tok": 3},
            CorruptFile,
            "num_experts_per_tok must be at most",
        ),
        (
            {"model_type": "gemma4_text", "use_bidirectional_attention": "all"},
            UnsupportedModel,
            "use_bidirectional_attention",
        ),
        *(
            ({"model_type": "gemma3n_text", **wrong}, CorruptFile, answer)
            for wrong, answer in (
                ({"intermediate_size": [32]}, "intermediate_size must be a list with an entry for each"),
                ({"activation_sparsity_pattern": 0.5}, "activation_sparsity_pattern must be a list"),
                ({"activation_sparsity_pattern": [1.0, 0.0]}, "activation_sparsity must be less than 1"),
                (
                    {"altup_active_idx": 4, "num_kv_shared_layers": 0},
                    "altup_active_idx must be a stream index from 0 to 3",
                ),
            )
        ),
        ({"model_type": "qwen3_next", "layer_types": ["full_attention", "mamba"]}, UnsupportedModel, "mamba"),
        ({"model_type": "qwen3_next", "linear_num_key_heads": 5}, CorruptFile, "linear_num_key_heads"),
        ({"model_type": "gemma3_text", "layer_types": ["full_attention"]}, CorruptFile, "layer_types"),
        ({"model_type": "gemma3_text", "layer_types": ["a", "b"]}, UnsupportedModel, "layer_types"),
    ],
)
def test_a_config_that_cannot_be_run_right_is_refused_with_the_setting(
    settings: dict[str, Any], error: type[LitGPTError], message: str
) -> None:
    with pytest.raises(error, match=message):
        parse_config("some/model", CONFIG | settings)


def test_queries_normalized_after_rope_and_clipped_are_refused() -> None:
    attention: Any = OLMO2.attention
    rotated_first = attrs.evolve(attention.qk_norm, after_rope=True)
    family = attrs.evolve(
        OLMO2,
        attention=attrs.evolve(attention, qk_norm=rotated_first, clip_qkv=ConfigField("clip_qkv", None)),
    )
    config = config_for("OLMo-2-1124-7B")
    assert family.read(HFConfig("it", config)).layers
    with pytest.raises(UnsupportedModel, match="clip_qkv"):
        family.read(HFConfig("it", {**config, "clip_qkv": 8.0}))


def test_a_shared_expert_of_size_0_is_none() -> None:
    config = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 4}
    sizes = {"num_key_value_heads": 1, "intermediate_size": 8}
    config |= {**sizes, "moe_num_shared_experts": 0, "moe_layer_start_index": 0}
    architecture = parse_config("it", {"model_type": "ernie4_5_moe", **config})
    mlp = architecture.layers[0].mlp
    assert isinstance(mlp, MoESpec)
    assert mlp.shared_expert is None


@pytest.mark.parametrize("kinds", [["dense"], ["sparse", "sparse", "other"], "sparse"])
def test_mlp_layer_types_other_than_one_for_each_layer_are_refused(kinds: object) -> None:
    config = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "vocab_size": 4}
    sizes = {"intermediate_size": 8, "num_key_value_heads": 2, "mlp_layer_types": kinds}
    with pytest.raises(CorruptFile, match="mlp_layer_types"):
        parse_config("it", {"model_type": "exaone_moe", **config, **sizes})
