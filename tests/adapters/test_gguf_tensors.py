"""Tests of GGUF tensors whose layout differs from a Hugging Face checkpoint: quantized, fused, damaged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from litgpt.adapters.checkpoints.gguf.checkpoint import open_gguf
from litgpt.domain.errors import CheckpointMismatch, CorruptFile, LitGPTError, UnsupportedModel
from litgpt.domain.families import family_of, parse_config
from litgpt.domain.ports import Checkpoint
from litgpt.domain.weights.mapping import validate_mapping
from tests.adapters import gguf_converter as converters
from tests.adapters.gguf_files import llama_tensors, write_gguf
from tests.adapters.tiny_models import tiny_model
from tests.contracts.raw_tensors import stored_bytes

# Rows of whole blocks of 32 weights, in every matrix that is read.
WIDE = {"hidden_size": 64, "intermediate_size": 96}


def convert(
    tmp_path: Path, family: str, converter: type[converters.Converter], stored_as: str, **settings: Any
) -> tuple[Checkpoint[Any], dict[str, Tensor]]:
    """Return a transformers model read from a GGUF file, and the tensors that the file was written from."""
    tiny_model(family, **settings).save_pretrained(tmp_path)
    path = converter(tmp_path).write(tmp_path / "m.gguf", stored_as)
    return open_gguf(path, "m"), converters.tensors_in(tmp_path)


@pytest.mark.parametrize(
    ("family", "converter", "settings"),
    [
        ("mixtral", converters.Llama, WIDE),
        ("qwen3_moe", converters.Qwen3Moe, {**WIDE, "moe_intermediate_size": 32}),
        ("gpt_neox", converters.Neox, WIDE),
        ("gpt2", converters.Gpt2, {"hidden_size": 64}),
        ("gpt_oss", converters.GptOss, {**WIDE, "swiglu_limit": 7.0}),
        ("granitemoe", converters.GraniteMoe, WIDE),
        ("phi", converters.Phi2Joined, {**WIDE, "num_key_value_heads": 4}),
        (
            "deepseek_v3",
            converters.DeepseekV3,
            {**WIDE, "kv_lora_rank": 32, "qk_nope_head_dim": 32, "v_head_dim": 32},
        ),
    ],
)
def test_quantized_numbers_come_from_the_blocks_that_hold_them(
    family: str, converter: type[converters.Converter], settings: dict[str, Any], tmp_path: Path
) -> None:
    checkpoint, expected = convert(tmp_path, family, converter, "Q8_0", **settings)
    quantized = [name for name, info in checkpoint.tensors.items() if info.storage_format == "Q8_0"]
    assert len(quantized) > len(expected) // 4
    for name, tensor in expected.items():
        actual = checkpoint.read(name, "float32")
        # A scale is the largest of 32 numbers over 127, in float16; a number is off by half of that at most.
        assert (actual - tensor).abs().max() <= 0.6 * tensor.abs().max() / 127, name
    stored = stored_bytes(checkpoint)
    # Keys are transposed but not values, and the elements of gates and up projections alternate.
    divided = "kv_b_proj.weight", "gate_up_proj_bias"
    assert [name for name in quantized if name not in stored and not name.endswith(divided)] == []
    assert any(raw.transposed for raw in stored.values()) == (family in ("gpt2", "gpt_oss"))


def test_rows_in_another_order_have_their_stored_bytes(tmp_path: Path) -> None:
    checkpoint = open_gguf(write_gguf(tmp_path / "m.gguf", stored_as="Q4_1"), "m")
    stored = stored_bytes(checkpoint)
    assert set(stored) == set(checkpoint.tensors)
    keys = stored["model.layers.1.self_attn.k_proj.weight"]
    assert keys.storage_formats == {"Q4_1"}
    assert [*keys.parts[0].row_numbers[:4]] == [0, 8, 1, 9]  # of a head of 16 rows
    assert [*keys.parts[0].row_numbers[16:20]] == [16, 24, 17, 25]


def test_the_stored_bytes_of_a_norm_have_its_unit_offset(tmp_path: Path) -> None:
    checkpoint, _ = convert(tmp_path, "gemma2", converters.Gemma2, "F32")
    stored = stored_bytes(checkpoint)
    assert stored["model.norm.weight"].offset == 1
    assert stored["model.embed_tokens.weight"].offset == 0


def test_an_expert_stored_in_the_requested_dtype_is_memory_mapped(tmp_path: Path) -> None:
    checkpoint, expected = convert(tmp_path, "qwen3_moe", converters.Qwen3Moe, "F16", hidden_size=64)
    names = [f"model.layers.1.mlp.experts.{number}.gate_proj.weight" for number in range(2)]
    first, other = (checkpoint.read(name, "float16") for name in names)
    assert other.data_ptr() - first.data_ptr() == first.nbytes  # side by side, as they lie in the file
    assert torch.equal(other, expected[names[1]].half())
    assert checkpoint.tensors[names[1]].nbytes == first.nbytes


class FusedGates(converters.Qwen3Moe):
    """Gate and up projections fused, as `--fuse-gate-up-exps` writes them."""

    def named_tensors(self) -> dict[str, Tensor]:
        tensors = super().named_tensors()
        for name in [name for name in tensors if "ffn_gate_exps" in name]:
            both = [tensors.pop(name), tensors.pop(name.replace("gate", "up"))]
            tensors[name.replace("gate", "gate_up")] = torch.cat(both, dim=1)
        return tensors


def test_fused_gate_and_up_projections_are_split(tmp_path: Path) -> None:
    checkpoint, expected = convert(tmp_path, "qwen3_moe", FusedGates, "F32")
    assert set(checkpoint.tensors) == set(expected)
    assert all(torch.equal(checkpoint.read(name), tensor) for name, tensor in expected.items())


class WithoutHalf(converters.GptOss):
    def named_tensors(self) -> dict[str, Tensor]:
        return {
            name: tensor
            for name, tensor in super().named_tensors().items()
            if "ffn_up_exps.weight" not in name
        }


class Cut(converters.Neox):
    def named_tensors(self) -> dict[str, Tensor]:
        return {
            name: tensor[:-4] if name == "blk.1.attn_qkv.weight" else tensor
            for name, tensor in super().named_tensors().items()
        }


class Twice(converters.Phi2):
    def named_tensors(self) -> dict[str, Tensor]:
        return super().named_tensors() | {"blk.0.attn_qkv.weight": torch.ones(144, 48)}


@pytest.mark.parametrize(
    ("family", "converter", "message"),
    [
        (
            "gpt_oss",
            WithoutHalf,
            r"parts of the tensor 'model\.layers\.0\.mlp\.experts\.gate_up_proj' are missing",
        ),
        (
            "gpt_neox",
            Cut,
            r"shape \[140, 48\] of its tensor 'blk\.1\.attn_qkv\.weight' does not fit its header",
        ),
        ("phi", Twice, r"several of its tensors map to 'model\.layers\.0\.self_attn\.[qkv]_proj\.weight'"),
    ],
)
def test_tensors_that_do_not_make_what_they_should_are_damage(
    family: str, converter: type[converters.Converter], message: str, tmp_path: Path
) -> None:
    settings = {"num_key_value_heads": 4} if family == "phi" else {}
    with pytest.raises(CorruptFile, match=message):
        convert(tmp_path, family, converter, "F32", **settings)


class WithoutOne(converters.DeepseekV3):
    def named_tensors(self) -> dict[str, Tensor]:
        return {
            name: tensor
            for name, tensor in super().named_tensors().items()
            if "blk.2.ffn_up_exps" not in name
        }


def test_experts_that_are_missing_are_named_one_by_one(tmp_path: Path) -> None:
    checkpoint, _ = convert(tmp_path, "deepseek_v3", WithoutOne, "F32")
    architecture, family = parse_config("m", checkpoint.config), family_of("m", checkpoint.config)
    with pytest.raises(CheckpointMismatch) as caught:
        validate_mapping("m", architecture, family.weights, checkpoint.tensors)
    assert set(caught.value.missing) == {f"model.layers.2.mlp.experts.{at}.up_proj.weight" for at in range(8)}


DEEPSEEK = {
    "attention.kv_lora_rank": 32,
    "attention.key_length": 24,
    "attention.value_length": 16,
    "rope.dimension_count": 8,
    "expert_used_count": 8,
    "expert_shared_count": 1,
}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"expert_count": 256, "expert_gating_func": 2}, ("deepseek_v3", 8, 4)),
        ({"expert_count": 160}, ("deepseek_v2", 8, 3)),
        ({"expert_count": 64}, ("deepseek_v2", 1, 1)),
        ({"expert_count": 384, "expert_gating_func": 2}, ("deepseek_v3", 1, 1)),
        (
            {
                "expert_count": 256,
                "expert_gating_func": 2,
                "expert_group_count": 4,
                "expert_group_used_count": 2,
            },
            ("deepseek_v3", 4, 2),
        ),
    ],
)
def test_expert_groups_missing_in_older_headers_are_the_models(
    settings: dict[str, int], expected: tuple[str, int, int], tmp_path: Path
) -> None:
    path = write_gguf(tmp_path / "m.gguf", "deepseek2", llama_tensors(), settings=DEEPSEEK | settings)
    config = open_gguf(path, "m").config
    assert (config["model_type"], config["n_group"], config["topk_group"]) == expected


@pytest.mark.parametrize(
    ("architecture", "settings", "error", "message"),
    [
        (
            "deepseek2",
            {**DEEPSEEK, "expert_count": 8, "expert_gating_func": 3},
            UnsupportedModel,
            "function 3",
        ),
        (
            "glm4moe",
            {"expert_count": 8, "expert_used_count": 2, "expert_gating_func": 1},
            UnsupportedModel,
            "1",
        ),
        (
            "glm4",
            {"rope.dimension_sections": [1, 1, 1, 0]},
            UnsupportedModel,
            r"glm4\.rope\.dimension_sections",
        ),
        (
            "llama",
            {"expert_count": 8, "expert_used_count": 2, "expert_gating_func": 2},
            UnsupportedModel,
            "scored by function 2",
        ),
        (
            "qwen3moe",
            {"expert_count": 8, "expert_used_count": 2, "expert_weights_scale": 2.5},
            UnsupportedModel,
            r"qwen3moe\.expert_weights_scale",
        ),
        (
            "qwen2moe",
            {"expert_count": 8, "expert_used_count": 2, "expert_group_count": 4},
            UnsupportedModel,
            r"qwen2moe\.expert_group_count",
        ),
        ("qwen2", {"expert_count": 8}, UnsupportedModel, r"qwen2\.expert_count"),
        ("llama", {"expert_count": 8}, CorruptFile, r"no 'llama\.expert_used_count'"),
        ("gpt2", {"attention.layer_norm_epsilon": 1e-5}, UnsupportedModel, "share keys and values"),
        ("gptneox", {"attention.layer_norm_epsilon": 1e-5}, UnsupportedModel, "differ from its family's"),
        ("olmo2", {"attention.key_length": 32}, UnsupportedModel, "differ from its family's"),
        (
            "mpt",
            {"attention.layer_norm_epsilon": 1e-5, "attention.head_count_kv": 4},
            UnsupportedModel,
            "ALiBi",
        ),
        ("starcoder", {"attention.layer_norm_epsilon": 1e-5}, UnsupportedModel, "does not use multi-query"),
        ("granite", {"expert_count": 8, "logit_scale": 2.0}, UnsupportedModel, r"granite\.expert_count"),
        ("granite", {}, CorruptFile, r"no 'granite\.logit_scale'"),
    ],
)
def test_unsupported_gguf_settings_are_refused_with_their_key(
    architecture: str, settings: dict[str, Any], error: type[LitGPTError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        open_gguf(write_gguf(tmp_path / "m.gguf", architecture, settings=settings), "m")


GEMMA4 = {
    "attention.sliding_window": 8,
    "attention.sliding_window_pattern": [True, False],
    "attention.key_length": 16,
    "attention.key_length_swa": 16,
    "rope.dimension_count": 16,
}
HALF_KEPT = np.array([1] * 4 + [1e30] * 4, np.float32)


@pytest.mark.parametrize(
    ("settings", "factors", "message"),
    [
        (
            {"feed_forward_length": [96, 192]},
            HALF_KEPT,
            r"'gemma4\.feed_forward_length' differs between layers",
        ),
        ({"attention.sliding_window_pattern": 6}, HALF_KEPT, "must be an array with a boolean per layer"),
        ({"rope.dimension_count_swa": 8}, HALF_KEPT, "rotate only a part of each head"),
        ({}, np.full(8, 2, np.float32), "not a known RoPE scaling"),
        ({}, HALF_KEPT[:-1], "does not specify the rotated pairs"),
        ({"attention.head_count_kv": [2]}, HALF_KEPT, "must be a list of 2 non-negative integers"),
        ({"attn_logit_softcapping": 50.0}, HALF_KEPT, r"gemma4\.attn_logit_softcapping"),
    ],
)
def test_unsupported_gemma_4_settings_are_refused(
    settings: dict[str, Any], factors: Any, message: str, tmp_path: Path
) -> None:
    tensors = llama_tensors() | {"rope_freqs.weight": factors}
    with pytest.raises((UnsupportedModel, CorruptFile), match=message):
        open_gguf(write_gguf(tmp_path / "m.gguf", "gemma4", tensors, settings=GEMMA4 | settings), "m")


def test_gemma_4_stores_the_rotated_share_of_its_large_heads(tmp_path: Path) -> None:
    tensors = llama_tensors() | {"rope_freqs.weight": HALF_KEPT}
    config = open_gguf(write_gguf(tmp_path / "m.gguf", "gemma4", tensors, settings=GEMMA4), "m").config
    assert config["rope_parameters"] == {
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        "full_attention": {
            "rope_type": "proportional",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.5,
        },
    }


def test_the_scaling_of_llama_4_is_recovered_from_its_factors(tmp_path: Path) -> None:
    wavelengths = 2 * np.pi * 500_000 ** (np.arange(0, 16, 2) / 16)
    factors = np.where(wavelengths < 8192, 1, 16).astype(np.float32)
    tensors = llama_tensors() | {"rope_freqs.weight": factors}
    path = write_gguf(tmp_path / "m.gguf", tensors=tensors, settings={"rope.freq_base": 500_000.0})
    scaling = open_gguf(path, "m").config["rope_scaling"]
    assert scaling == {
        "rope_type": "llama3",
        "factor": 16.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
    }


@pytest.mark.parametrize("factors", [None, np.ones(7, np.float32)])
def test_longrope_needs_both_of_its_lists(factors: Any, tmp_path: Path) -> None:
    tensors = llama_tensors() | {"rope_factors_long.weight": np.ones(8, np.float32)}
    if factors is not None:
        tensors["rope_factors_short.weight"] = factors
    with pytest.raises(CorruptFile, match=r"must have an F32 tensor 'rope_factors_short\.weight'"):
        open_gguf(write_gguf(tmp_path / "m.gguf", "phi3", tensors), "m")
