"""Tests of GGUF metadata as a Hugging Face config, compared with transformers' GGUF reader."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from litgpt.adapters.checkpoints.gguf.checkpoint import open_gguf
from litgpt.adapters.checkpoints.gguf.maps import ARCHITECTURE_MAPS
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.reader.metadata import GgufMetadata
from litgpt.domain.errors import CheckpointMismatch, CorruptFile, LitGPTError, UnsupportedModel
from litgpt.domain.families import family_of, parse_config
from litgpt.domain.ports import Checkpoint
from litgpt.domain.weights.mapping import validate_mapping
from tests.adapters.gguf_files import Array, llama_tensors, random_array, write_gguf

# What transformers keeps inside `rope_parameters`, and is compared there.


def llama() -> dict[str, Array]:
    return llama_tensors() | {"output.weight": random_array((64, 64), 99)}


def llama_with_biases() -> dict[str, Array]:
    biased = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    return biases(llama_tensors(), biased)


def qwen2() -> dict[str, Array]:
    return biases(llama_tensors(), ("attn_q", "attn_k", "attn_v"))


def gemma3() -> dict[str, Array]:
    tensors = llama_tensors()
    for layer in range(2):
        for role, width in {
            "attn_q_norm": 16,
            "attn_k_norm": 16,
            "post_attention_norm": 64,
            "post_ffw_norm": 64,
        }.items():
            name = f"blk.{layer}.{role}.weight"
            tensors[name] = random_array((width,), len(tensors))
    return tensors


def biases(tensors: Mapping[str, Array], roles: tuple[str, ...]) -> dict[str, Array]:
    tensors_by_name = dict(tensors)
    for name, weight in tensors.items():
        if name.removesuffix(".weight").rpartition(".")[2] in roles:
            bias = name.replace(".weight", ".bias")
            tensors_by_name[bias] = random_array(weight.shape[:1], len(tensors_by_name))
    return tensors_by_name


GEMMA3 = {"attention.key_length": 16, "attention.value_length": 16, "attention.sliding_window": 8}


def oracle(path: Path, config: Mapping[str, object]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the config that transformers reads from a GGUF file, and its tensors for a model of `config`."""
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**dict[str, Any](config)))
    actual = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=model)
    return actual["config"], actual["tensors"]


@pytest.mark.parametrize(
    ("architecture", "tensors", "settings"),
    [
        ("llama", llama, {}),
        ("llama", llama_with_biases, {}),
        ("qwen2", qwen2, {"rope.freq_base": 1e6}),
        ("gemma3", gemma3, GEMMA3),
    ],
)
@pytest.mark.parametrize("stored_as", ["F32", "Q8_0"])
def test_every_tensor_and_setting_is_what_transformers_reads(
    architecture: str,
    tensors: Callable[[], dict[str, Array]],
    settings: Mapping[str, Any],
    stored_as: str,
    tmp_path: Path,
) -> None:
    path = write_gguf(tmp_path / "m.gguf", architecture, tensors(), stored_as=stored_as, settings=settings)
    checkpoint = open_gguf(path, "m")
    config, expected = oracle(path, checkpoint.config)
    assert set(checkpoint.tensors) == set(expected)
    for name, tensor in expected.items():
        assert checkpoint.tensors[name].shape == tuple(tensor.shape), name
        assert torch.equal(checkpoint.read(name, "float32"), tensor), name
        assert torch.equal(checkpoint.read(name, "bfloat16"), tensor.bfloat16()), name
    shared = set(config) & set(checkpoint.config)
    assert {name: config[name] for name in shared} == {name: checkpoint.config[name] for name in shared}
    assert shared >= {"model_type", "num_hidden_layers", "rope_theta", "rms_norm_eps", "tie_word_embeddings"}


@pytest.mark.parametrize(
    ("architecture", "tensors", "settings"),
    [("llama", llama_with_biases, {}), ("qwen2", qwen2, {}), ("gemma3", gemma3, GEMMA3)],
)
def test_the_domain_finds_every_tensor_that_its_architecture_asks_for(
    architecture: str, tensors: Callable[[], dict[str, Array]], settings: Mapping[str, Any], tmp_path: Path
) -> None:
    path = write_gguf(tmp_path / "m.gguf", architecture, tensors(), settings=settings)
    joins = plan_of(open_gguf(path, "m"))
    assert {name for join in joins for name in join.hf_names} == set(open_gguf(path, "m").tensors)


def plan_of(checkpoint: Checkpoint[Any]) -> Any:
    family = family_of(checkpoint.name, checkpoint.config)
    architecture = parse_config(checkpoint.name, checkpoint.config)
    return validate_mapping(checkpoint.name, architecture, family.weights, checkpoint.tensors)


@pytest.mark.parametrize("heads", [4, 2])
def test_rows_are_put_back_that_the_converter_interleaved(heads: int, tmp_path: Path) -> None:
    """Without any reader: a matrix is permuted as in convert_hf_to_gguf.py, and restored."""
    original = random_array((heads * 16, 64), 1)
    interleaved = original.reshape(heads, 2, 8, 64).swapaxes(1, 2).reshape(original.shape)
    role, reference = ("attn_q", "q_proj") if heads == 4 else ("attn_k", "k_proj")
    tensors = llama_tensors() | {f"blk.1.{role}.weight": interleaved}
    checkpoint = open_gguf(write_gguf(tmp_path / "m.gguf", tensors=tensors), "m")
    actual = checkpoint.read(f"model.layers.1.self_attn.{reference}.weight")
    assert torch.equal(actual, torch.from_numpy(original))


def test_a_tensor_of_unknown_name_is_listed_as_unexpected(tmp_path: Path) -> None:
    tensors = llama_tensors() | {"blk.0.mystery.weight": random_array((4, 4), 0), "mystery": np.ones(4, "f")}
    checkpoint = open_gguf(write_gguf(tmp_path / "m.gguf", tensors=tensors), "m")
    with pytest.raises(CheckpointMismatch) as caught:
        plan_of(checkpoint)
    assert set(caught.value.unexpected) == {"blk.0.mystery.weight", "mystery"}


def llama3_factors(factor: float, *, base: float = 500_000.0, size: int = 128) -> Array:
    """Return the tensor that llama.cpp's converter writes, from the values that transformers computes."""
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaling = {
        "rope_type": "llama3",
        "rope_theta": base,
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    config = LlamaConfig(head_dim=size, rope_parameters=scaling, max_position_embeddings=131072)
    stretched, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    plain = 1 / base ** (torch.arange(0, size, 2) / size)
    factors: Array = (plain / stretched).numpy()
    return factors


def llama3(path: Path, factors: Array, **settings: Any) -> Checkpoint[Any]:
    tensors = llama_tensors(heads=4, groups=2, size=128) | {"rope_freqs.weight": factors}
    return open_gguf(
        write_gguf(path, tensors=tensors, settings={"rope.freq_base": 500_000.0} | settings), "m"
    )


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_the_scaling_of_llama_3_is_recovered_from_its_factors(factor: float, tmp_path: Path) -> None:
    checkpoint = llama3(tmp_path / "m.gguf", llama3_factors(factor))
    assert checkpoint.config["rope_scaling"] == {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    assert not [name for name in checkpoint.tensors if "rope" in name]
    plan_of(checkpoint)


def test_factors_of_one_stretch_nothing(tmp_path: Path) -> None:
    assert "rope_scaling" not in llama3(tmp_path / "m.gguf", np.ones(64, np.float32)).config


@pytest.mark.parametrize(
    ("factors", "settings", "error", "message"),
    [
        (lambda: llama3_factors(8.0) * np.float32(1.01), {}, UnsupportedModel, "not a known RoPE scaling"),
        (lambda: llama3_factors(8.0)[:-1], {}, UnsupportedModel, "not a known RoPE scaling"),
        (
            lambda: llama3_factors(8.0),
            {"rope.freq_base": 10_000.0},
            UnsupportedModel,
            "not a known RoPE scaling",
        ),
        (
            lambda: llama3_factors(8.0),
            {"rope.dimension_count": 4_000_000_000},
            UnsupportedModel,
            "not a known",
        ),
        (lambda: np.zeros(64, np.float32), {}, UnsupportedModel, "not a known RoPE scaling"),
        (lambda: np.full(64, np.nan, np.float32), {}, UnsupportedModel, "not a known RoPE scaling"),
        (
            lambda: llama3_factors(8.0),
            {"rope.scaling.type": "linear", "rope.scaling.factor": 2.0},
            UnsupportedModel,
            "two RoPE scalings",
        ),
        (lambda: np.full((64, 64), 2, np.float32), {}, UnsupportedModel, "not a known RoPE scaling"),
        (lambda: np.full(64, np.inf, np.float32), {}, UnsupportedModel, "not a known RoPE scaling"),
        (lambda: llama3_factors(np.inf), {}, UnsupportedModel, "not a known RoPE scaling"),
        (lambda: llama3_factors(8.0), {"rope.freq_base": -5.0}, UnsupportedModel, "not a known RoPE scaling"),
    ],
)
def test_factors_of_no_known_rule_are_refused(
    factors: Callable[[], Array],
    settings: Mapping[str, Any],
    error: type[LitGPTError],
    message: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        llama3(tmp_path / "m.gguf", factors(), **settings)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),
        ({"rope.scaling.type": "none", "rope.scaling.factor": 4.0}, None),
        ({"rope.scaling.type": "linear", "rope.scaling.factor": 1.0}, None),
        ({"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}, {"rope_type": "linear", "factor": 4.0}),
        ({"rope.scale_linear": 2.0}, {"rope_type": "linear", "factor": 2.0}),
        (
            {
                "rope.scaling.type": "yarn",
                "rope.scaling.factor": 4.0,
                "rope.scaling.original_context_length": 32768,
                "rope.scaling.yarn_beta_fast": 16.0,
            },
            {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32768,
                "beta_fast": 16.0,
            },
        ),
    ],
)
def test_the_scaling_that_a_header_names_is_passed_on(
    settings: Mapping[str, Any], expected: object, tmp_path: Path
) -> None:
    checkpoint = open_gguf(write_gguf(tmp_path / "m.gguf", settings=settings), "m")
    assert checkpoint.config.get("rope_scaling") == expected


def test_a_scaling_that_is_not_implemented_is_refused_by_the_domain(tmp_path: Path) -> None:
    settings = {"rope.scaling.type": "ntk", "rope.scaling.factor": 4.0}
    checkpoint = open_gguf(write_gguf(tmp_path / "m.gguf", settings=settings), "m")
    with pytest.raises(UnsupportedModel, match="ntk"):
        parse_config("m", checkpoint.config)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"attention.head_count_kv": None, "attention.head_count": 2}, {"num_key_value_heads": 2}),
        ({"attention.head_count": [4, 4]}, {"num_attention_heads": 4}),
        ({"rope.freq_base": None}, {"rope_theta": 10000.0}),
        ({"attention.key_length": 32, "attention.head_count": 2}, {"head_dim": 32}),
        ({"rope.dimension_count": 8}, {"partial_rotary_factor": 0.5}),
        ({"rope.dimension_count": 16}, {"partial_rotary_factor": None}),
    ],
)
def test_header_defaults_equal_llama_cpp(
    settings: Mapping[str, Any], expected: Mapping[str, object], tmp_path: Path
) -> None:
    checkpoint = open_gguf(write_gguf(tmp_path / "m.gguf", settings=settings), "m")
    assert {name: checkpoint.config.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"block_count": None}, CorruptFile, r"no 'llama\.block_count'"),
        (
            {"block_count": 4_000_000_000},
            CorruptFile,
            r"'llama\.block_count' in its header must be at most 20",
        ),
        (
            {"block_count": 2.0},
            CorruptFile,
            r"'llama\.block_count' in its header must be a non-negative integer",
        ),
        ({"block_count": True}, CorruptFile, "must be a non-negative integer, not True"),
        ({"block_count": "two"}, CorruptFile, r"must be a non-negative integer, not 'two'"),
        ({"attention.head_count": 0}, CorruptFile, "must be a positive integer"),
        ({"attention.head_count": None}, CorruptFile, r"no 'llama\.attention\.head_count'"),
        ({"attention.head_count": 3}, CorruptFile, r"the 64 rows of its tensor 'blk\.0\.attn_q\.weight'"),
        ({"attention.head_count": [4, 2]}, UnsupportedModel, "differs between layers"),
        ({"attention.head_count": ["a"]}, CorruptFile, "must be a number, not an array"),
        ({"feed_forward_length": [96, 64]}, UnsupportedModel, "differs between layers"),
        ({"attention.layer_norm_rms_epsilon": float("nan")}, CorruptFile, "must be a finite number"),
        ({"attention.layer_norm_rms_epsilon": None}, CorruptFile, "layer_norm_rms_epsilon"),
        ({"attention.key_length": 16, "attention.value_length": 8}, UnsupportedModel, "different sizes"),
        ({"attention.clamp_kqv": 8.0}, UnsupportedModel, r"'llama\.attention\.clamp_kqv', which is not"),
        ({"attention.causal": False}, UnsupportedModel, "its attention is not causal"),
        ({"attention.scale": 0.5}, UnsupportedModel, r"'llama\.attention\.scale', which"),
        ({"rope.scaling.type": 3}, CorruptFile, "must be a string"),
    ],
)
def test_a_header_that_cannot_be_right_or_asks_for_more_is_refused_with_its_key(
    settings: Mapping[str, Any], error: type[LitGPTError], message: str, tmp_path: Path
) -> None:
    path = write_gguf(tmp_path / "m.gguf", settings=settings)
    with pytest.raises(error, match=message) as caught:
        open_gguf(path, "m")
    assert "m.gguf" in str(caught.value)


def test_the_share_of_a_head_that_is_rotated_gives_the_number_back() -> None:
    for size in range(8, 257, 8):
        for number in range(2, size + 1, 2):
            values = {"llama.attention.key_length": size, "llama.rope.dimension_count": number}
            source = GgufModel("llama", GgufMetadata("m.gguf", values), {})
            assert int(size * source.partial_rotary_factor) == number


def test_unsupported_settings_with_neutral_values_are_accepted(tmp_path: Path) -> None:
    open_gguf(write_gguf(tmp_path / "m.gguf", settings={"expert_count": 0, "attention.scale": 0.0}), "m")


def test_an_unknown_architecture_is_an_error_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        UnsupportedModel, match=r"'mamba' is not supported; supported are: .*gemma3.*llama.*qwen2"
    ):
        open_gguf(write_gguf(tmp_path / "m.gguf", "mamba"), "m")


def test_a_gguf_file_that_is_not_a_model_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", more=lambda writer: writer.add_type("adapter"))
    with pytest.raises(UnsupportedModel, match=r"general.type is 'adapter'"):
        open_gguf(path, "m")


def test_two_tensors_of_one_name_are_damage(tmp_path: Path) -> None:
    tensors = llama_tensors() | {"model.norm.weight": np.ones(4, np.float32)}
    with pytest.raises(CorruptFile, match=r"several of its tensors map to 'model\.norm\.weight'"):
        open_gguf(write_gguf(tmp_path / "m.gguf", tensors=tensors), "m")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"query_pre_attn_scalar": 16, "sliding_window": 8, "sliding_window_pattern": 6}),
        ({}, {"rope_local_base_freq": 10000.0, "layer_types": None}),
        ({"attention.sliding_window_pattern": 4}, {"sliding_window_pattern": 4}),
        (
            {"attention.sliding_window_pattern": [True, False]},
            {
                "layer_types": ["sliding_attention", "full_attention"],
                "sliding_window_pattern": None,
            },
        ),
        ({"rope.freq_base_swa": 5000.0}, {"rope_local_base_freq": 5000.0}),
        ({"final_logit_softcapping": 30.0}, {"final_logit_softcapping": 30.0}),
    ],
)
def test_gemma_3s_settings_are_read(
    settings: Mapping[str, Any], expected: Mapping[str, object], tmp_path: Path
) -> None:
    path = write_gguf(tmp_path / "m.gguf", "gemma3", gemma3(), settings={**GEMMA3, **settings})
    checkpoint = open_gguf(path, "m")
    assert {name: checkpoint.config.get(name) for name in expected} == expected


def test_gemma_3_27b_is_known_by_its_layers_and_scales_by_its_width(tmp_path: Path) -> None:
    tensors = gemma3() | {f"unused.{number}": np.ones(1, np.float32) for number in range(62)}
    settings = GEMMA3 | {"block_count": 62, "attention.head_count": 2, "attention.head_count_kv": 2}
    checkpoint = open_gguf(write_gguf(tmp_path / "m.gguf", "gemma3", tensors, settings=settings), "m")
    assert (checkpoint.config["query_pre_attn_scalar"], checkpoint.config["head_dim"]) == (32, 16)


def test_every_dialect_leads_to_a_family_of_the_domain() -> None:
    for architecture, dialect in ARCHITECTURE_MAPS.items():
        assert dialect.architecture == architecture
        assert family_of("m", {"model_type": dialect.model_type}).model_type == dialect.model_type
