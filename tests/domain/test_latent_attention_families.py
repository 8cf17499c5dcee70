"""Tests of what the configs of families with latent attention say in several ways."""

from typing import Any

import pytest

from litgpt.domain.errors import CorruptFile, UnsupportedModel
from litgpt.domain.families import family_of, parse_config, resolve_model
from litgpt.domain.families.resolve import config_to_save
from litgpt.domain.model import MLASpec, ShortcutMoESpec, YarnScaling
from litgpt.domain.weights.mapping import map_parameters
from litgpt.domain.weights.tensor_info import TensorInfo
from tests.adapters.tiny_models import FAMILIES, SIZES


def config_of(family: str, **settings: Any) -> dict[str, Any]:
    return {"model_type": family, **SIZES, **FAMILIES[family], **settings}


def mixers(config: dict[str, Any]) -> list[MLASpec]:
    result = [layer.mixer for layer in parse_config("it", config).layers]
    assert all(isinstance(mixer, MLASpec) for mixer in result)
    return result  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"index_topk_freq": 1}, [None] * 6),
        ({"index_topk_freq": 2}, [None, None, 1, None, 3, None]),
        ({"index_topk_freq": 2, "index_skip_topk_offset": 4}, [None, None, None, None, 3, None]),
        ({"index_topk_pattern": "FSSFSF"}, [None, 0, 0, None, 3, None]),
        ({"index_topk_pattern": ["full", "shared"] * 3}, [None, 0, None, 2, None, 4]),
        ({"indexer_types": ["full"] + ["shared"] * 5}, [None, 0, 0, 0, 0, 0]),
    ],
)
def test_layers_of_glm_5_use_the_tokens_of_the_last_indexer(settings: Any, expected: Any) -> None:
    layers = mixers(config_of("glm_moe_dsa", num_hidden_layers=6, **settings))
    assert [mixer.indexer_layer for mixer in layers] == expected
    assert [mixer.indexer is None for mixer in layers] == [source is not None for source in expected]


@pytest.mark.parametrize("types", [["shared"] * 3, ["full", "half", "full"], ["full"], "FSF", [["full"]] * 3])
def test_indexers_that_are_not_said_are_refused(types: Any) -> None:
    with pytest.raises(CorruptFile, match="indexer_types must be a list"):
        parse_config("it", config_of("glm_moe_dsa", indexer_types=types))


def test_an_indexer_needs_queries_of_a_latent_and_heads_that_can_be_rotated() -> None:
    with pytest.raises(CorruptFile, match="q_lora_rank"):
        parse_config("it", config_of("deepseek_v32", q_lora_rank=None))
    with pytest.raises(CorruptFile, match="index_head_dim must be at least qk_rope_head_dim"):
        parse_config("it", config_of("deepseek_v32", index_head_dim=4))


def test_the_cache_has_the_keys_of_indexers() -> None:
    plain, indexed = (mixers(config_of(family))[0] for family in ("deepseek_v3", "deepseek_v32"))
    assert indexed.cache_spec.numel_per_token == plain.cache_spec.numel_per_token + 12


def test_a_layer_of_longcat_flash_is_two_layers_with_experts_beside_the_first() -> None:
    layers = parse_config("it", config_of("longcat_flash")).layers
    assert [isinstance(layer.mlp, ShortcutMoESpec) for layer in layers] == [True, False, True, False]
    assert [layer.adds_shortcut for layer in layers] == [False, True, False, True]
    with pytest.raises(UnsupportedModel, match="qk_head_dim = 20"):
        parse_config("it", config_of("longcat_flash", qk_head_dim=20))


def test_sarvams_first_configs_have_other_names() -> None:
    yarn = {"type": "deepseek_yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    older = config_of("sarvam_mla", num_shared_experts=2, num_experts=6, rope_scaling=yarn, rope_theta=500.0)
    del older["n_shared_experts"], older["n_routed_experts"]
    newer = config_of("sarvam_mla", rope_parameters={**yarn, "rope_type": "yarn", "rope_theta": 500.0})
    assert parse_config("it", older) == parse_config("it", newer)


def test_mistral_4_is_stretched_unless_its_config_says_otherwise() -> None:
    config = config_of("mistral4")
    del config["rope_parameters"]
    first = mixers(config)[0]
    assert isinstance(first.rope.scaling, YarnScaling)
    assert first.rope.scaling.factor == 128
    assert first.attention_temperature is not None


def test_kimi_k2_is_deepseek_v3_alone_and_beside_images() -> None:
    text = config_of("deepseek_v3") | {"model_type": "kimi_k2"}
    whole = {"model_type": "kimi_k25", "text_config": text}
    sources = map_parameters(parse_config("it", text), family_of("it", text).weights)
    tensors = {
        f"language_model.{view.name}": TensorInfo(view.shape, "F32", 0)
        for source in sources
        for view in source.views
    }
    for name in ("mm_projector.proj.0.weight", "vision_tower.patch_embed.proj.bias"):
        tensors[name] = TensorInfo((4,), "F32", 16)
    assert resolve_model("it", whole, tensors).architecture == parse_config("it", config_of("deepseek_v3"))
    assert parse_config("it", text) == parse_config("it", config_of("deepseek_v3"))
    assert config_to_save(text)["model_type"] == config_to_save(whole)["model_type"] == "deepseek_v3"
