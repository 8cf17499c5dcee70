"""Tests of every family converted as llama.cpp's converter does: transformers' logits from the GGUF file.

Each tensor must be read back under the name and with the values that transformers saved. With the config that
is read from the header, transformers and this library must compute the original model's logits.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from torch import Tensor

from litgpt.adapters.checkpoints.gguf.checkpoint import open_gguf
from litgpt.adapters.native.build import build_model
from litgpt.adapters.pytorch.distribution.layer_split import LayerSplit
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.families import family_of, parse_config
from litgpt.domain.ports import Checkpoint
from litgpt.domain.progress import null_reporter
from litgpt.domain.weights.mapping import validate_mapping
from tests.adapters import gguf_converter as converters
from tests.adapters.test_gguf_config import oracle
from tests.adapters.tiny_models import tiny_model
from tests.contracts.raw_tensors import stored_bytes

_LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
    "long_factor": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
}
_YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "mscale": 0.7,
    "mscale_all_dim": 0.7,
    "original_max_position_embeddings": 64,
}
_PLAIN = {"rope_type": "default", "rope_theta": 10000.0}
_ALPHA = {"rope_type": "dynamic", "rope_theta": 10000.0, "alpha": 50.0, "factor": 1.0}
_NO_WINDOWS = {"sliding_window": None, "layer_types": ["full_attention"] * 3}
_EVERY_FOURTH = ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"]
_PUBLISHED_LLAMA4 = {
    "no_rope_layers": [1, 1, 1, 0],
    "attention_chunk_size": 8192,
    "attn_scale": 0.1,
    "floor_scale": 8192,
}
_LITE = {
    "topk_method": "greedy",
    "n_group": 1,
    "topk_group": 1,
    "q_lora_rank": None,
    "rope_parameters": _YARN,
}
_HYBRID = {
    "num_hidden_layers": 4,
    "layer_types": ["linear_attention", "full_attention", "linear_attention", "full_attention"],
}
_BESIDE = {
    "attention_k_eq_v": True,
    "num_global_key_value_heads": 1,
    "enable_moe_block": True,
    "num_experts": 6,
    "top_k_experts": 2,
    "moe_intermediate_size": 24,
    "hidden_size_per_layer_input": 0,
    "num_kv_shared_layers": 0,
    "use_double_wide_mlp": False,
    "final_logit_softcapping": 3.0,
}
# What GGUF has no key for is as the model has it.
_NO_JITTER = {"router_jitter_noise": 0.01}
_NEW_FALCON = {"new_decoder_architecture": True, "num_kv_heads": 2}


@attrs.frozen
class Case:
    """A model and its conversion.

    Attributes:
        family: Its `model_type`.
        converter: Its converter.
        settings: Further settings of its config.
        reported: The family of the config that is read, if another one has the same structure.
    """

    family: str
    converter: type[converters.Converter]
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    reported: str = ""


CASES = {
    "llama": Case("llama", converters.Llama),
    "llama-biases": Case("llama", converters.Llama, {"attention_bias": True, "mlp_bias": True}),
    "mistral": Case("mistral", converters.Llama, {"sliding_window": None}, reported="llama"),
    "mixtral": Case("mixtral", converters.Llama),
    "qwen2": Case("qwen2", converters.converter_for("QWEN2")),
    "qwen3": Case("qwen3", converters.converter_for("QWEN3")),
    "qwen3_moe": Case("qwen3_moe", converters.Qwen3Moe, {"norm_topk_prob": True}),
    "qwen2_vl": Case("qwen2", converters.converter_for("QWEN2VL")),
    "qwen3_vl": Case("qwen3", converters.converter_for("QWEN3VL")),
    "qwen3_vl_moe": Case(
        "qwen3_moe", converters.converter_for("QWEN3VLMOE", converters.Qwen3Moe), {"norm_topk_prob": True}
    ),
    "arcee": Case("arcee", converters.converter_for("ARCEE", converters.Llama)),
    "exaone": Case("exaone", converters.converter_for("EXAONE")),
    "gemma": Case("gemma", converters.Gemma),
    "gemma2": Case("gemma2", converters.Gemma2, {"query_pre_attn_scalar": 16}),
    "phi": Case("phi", converters.Phi2, {"num_key_value_heads": 4}),
    "phi-joined": Case("phi", converters.Phi2Joined, {"num_key_value_heads": 4}),
    "phi3": Case("phi3", converters.Phi3, {"sliding_window": 8}),
    "phi3-long": Case(
        "phi3", converters.Phi3, {"rope_parameters": _LONG, "original_max_position_embeddings": 32}
    ),
    "phimoe": Case(
        "phimoe",
        converters.PhiMoe,
        {"attention_bias": True, "lm_head_bias": True, "original_max_position_embeddings": 64, **_NO_JITTER},
    ),
    "phimoe-long": Case(
        "phimoe",
        converters.PhiMoe,
        {
            "rope_parameters": {
                **_LONG,
                "original_max_position_embeddings": 128,
                "short_mscale": 1.243163121016122,
                "long_mscale": 1.243163121016122,
            },
            "original_max_position_embeddings": 128,
            **_NO_JITTER,
        },
    ),
    "gpt_neox": Case("gpt_neox", converters.Neox),
    "gpt_neox-serial": Case("gpt_neox", converters.Neox, {"use_parallel_residual": False}),
    "falcon": Case("falcon", converters.Falcon),
    "falcon-40b": Case("falcon", converters.Falcon, _NEW_FALCON),
    "falcon-11b": Case("falcon", converters.Falcon, {**_NEW_FALCON, "num_ln_in_parallel_attn": 1}),
    "falcon-biases": Case("falcon", converters.Falcon, {"bias": True}),
    "stablelm": Case("stablelm", converters.StableLm),
    "stablelm-2": Case(
        "stablelm",
        converters.StableLm,
        {"use_qkv_bias": True, "qk_layernorm": True, "use_parallel_residual": True},
    ),
    "olmo": Case("olmo", converters.Olmo, {"clip_qkv": 0.5}),
    "olmo2": Case("olmo2", converters.converter_for("OLMO2")),
    "olmoe": Case("olmoe", converters.Olmoe),
    "deepseek_v3": Case("deepseek_v3", converters.DeepseekV3),
    "deepseek_v3-joined": Case("deepseek_v3", converters.DeepseekV3Joined, {"q_lora_rank": None}),
    "deepseek_v3-yarn": Case("deepseek_v3", converters.DeepseekV3, {"rope_parameters": _YARN}),
    "minicpm3": Case("minicpm3", converters.MiniCpm3, {"dim_model_base": 256}),
    "gpt_oss": Case("gpt_oss", converters.GptOss, {"swiglu_limit": 7.0}),
    "gpt_oss-plain": Case("gpt_oss", converters.GptOss, {"swiglu_limit": 7.0, "rope_parameters": _PLAIN}),
    "qwen2_moe": Case("qwen2_moe", converters.Qwen2Moe),
    "glm4": Case("glm4", converters.Glm4, {"attention_bias": True}),
    "glm4_moe": Case("glm4_moe", converters.Glm4Moe),
    "ministral3": Case("ministral3", converters.Ministral3),
    "smollm3": Case("smollm3", converters.SmolLm3, {"num_hidden_layers": 4, "no_rope_layers": [1, 1, 1, 0]}),
    "olmo3": Case("olmo3", converters.Olmo3),
    "granite": Case("granite", converters.Granite),
    "gpt2": Case("gpt2", converters.Gpt2),
    "starcoder2": Case("starcoder2", converters.converter_for("STARCODER2"), {"sliding_window": None}),
    "ernie4_5": Case("ernie4_5", converters.converter_for("ERNIE4_5")),
    "exaone4": Case("exaone4", converters.Exaone4),
    "exaone4-small": Case("exaone4", converters.Exaone4, _NO_WINDOWS),
    "seed_oss": Case("seed_oss", converters.converter_for("SEED_OSS")),
    "hunyuan_v1_dense": Case("hunyuan_v1_dense", converters.Hunyuan),
    "hunyuan_v1_dense-alpha": Case("hunyuan_v1_dense", converters.Hunyuan, {"rope_parameters": _ALPHA}),
    "minimax_m2": Case("minimax_m2", converters.MiniMaxM2),
    "cohere": Case("cohere", converters.Cohere),
    "cohere-norms": Case("cohere", converters.Cohere, {"use_qk_norm": True}),
    "cohere2": Case("cohere2", converters.Cohere2, {"num_hidden_layers": 4, "layer_types": _EVERY_FOURTH}),
    "nemotron": Case("nemotron", converters.Nemotron),
    "granitemoe": Case("granitemoe", converters.GraniteMoe),
    "gpt_bigcode": Case("gpt_bigcode", converters.StarCoder),
    "bloom": Case("bloom", converters.Bloom),
    "mpt": Case("mpt", converters.Mpt),
    "lfm2": Case("lfm2", converters.Lfm2),
    "lfm2_moe": Case("lfm2_moe", converters.Lfm2Moe),
    "llama4": Case("llama4_text", converters.Llama4, _PUBLISHED_LLAMA4),
    "deepseek_v2": Case("deepseek_v2", converters.DeepseekV2),
    "deepseek_v2-lite": Case("deepseek_v2", converters.DeepseekV2, _LITE),
    "qwen3_next": Case("qwen3_next", converters.Qwen3Next, _HYBRID),
    "qwen3_5": Case("qwen3_5_text", converters.Qwen35, _HYBRID),
    "qwen3_5-moe": Case("qwen3_5_moe_text", converters.Qwen35Moe, _HYBRID),
    "apertus": Case("apertus", converters.Apertus),
    "gemma3n": Case("gemma3n_text", converters.Gemma3n),
    "gemma4": Case("gemma4_text", converters.Gemma4),
    "gemma4-experts": Case("gemma4_text", converters.Gemma4, _BESIDE),
}

IDS = torch.randint(2, 288, (1, 40), generator=torch.Generator().manual_seed(3))


@attrs.frozen
class Model:
    """A transformers model, saved, and its GGUF file."""

    folder: Path
    path: Path
    logits: Tensor

    @property
    def checkpoint(self) -> Checkpoint[Tensor]:
        return open_gguf(self.path, self.path.stem)


@pytest.fixture(scope="module", params=CASES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    case = CASES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    reference = tiny_model(case.family, **case.settings)
    reference.save_pretrained(folder)
    path = case.converter(folder).write(folder / f"{request.param}.gguf")
    with torch.inference_mode():
        return Model(folder, path, reference(IDS).logits)


def assert_close(actual: Tensor, expected: Tensor) -> None:
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_every_tensor_comes_back_as_transformers_saved_it(model: Model) -> None:
    expected = converters.tensors_in(model.folder)
    checkpoint = model.checkpoint
    assert set(checkpoint.tensors) == set(expected)
    for name, tensor in expected.items():
        actual = checkpoint.read(name)
        assert checkpoint.tensors[name].shape == tuple(tensor.shape), name
        # Adding and subtracting 1, and exponentials, lose the last bits.
        lost = 1e-6 if "norm" in name or name.endswith("A_log") else 0
        assert torch.allclose(actual, tensor, rtol=0, atol=lost), name
    assert stored_bytes(checkpoint)


@torch.inference_mode()
def test_our_network_gives_transformers_logits(model: Model) -> None:
    checkpoint = model.checkpoint
    architecture, family = parse_config("m", checkpoint.config), family_of("m", checkpoint.config)
    joins = validate_mapping("m", architecture, family.select_weights(checkpoint.tensors), checkpoint.tensors)
    placement = Placement(devices=("cpu",), dtype="float32")
    placed = LayerSplit().build(placement, architecture, joins, checkpoint, null_reporter)
    assert_close(placed.network(IDS), model.logits)


def test_the_native_engine_gives_transformers_logits(model: Model) -> None:
    checkpoint = model.checkpoint
    architecture, family = parse_config("m", checkpoint.config), family_of("m", checkpoint.config)
    joins = validate_mapping("m", architecture, family.select_weights(checkpoint.tensors), checkpoint.tensors)
    engine = build_model(architecture, joins, checkpoint, null_reporter, dtype="float32")
    logits = engine.step([(engine.new_sequence(IDS.shape[1]), IDS[0].tolist())])[0]
    assert_close(torch.from_numpy(logits), model.logits[0, -1])


@torch.inference_mode()
def test_transformers_accepts_the_converted_config(model: Model, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    (tmp_path / "config.json").write_text(json.dumps(model.checkpoint.config))
    (tmp_path / "model.safetensors").symlink_to(model.folder / "model.safetensors")
    reference = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    assert_close(reference(IDS).logits, model.logits)


# Its reader knows other architectures too, but stacks their experts, or leaves Falcon's groups as they are.
TRANSFORMERS_READS = (
    "llama-biases",
    "qwen3",
    "gemma2",
    "phi3-long",
    "falcon",
    "stablelm",
    "gpt2",
    "starcoder2",
    "nemotron",
    "bloom",
)


@pytest.mark.parametrize("model", TRANSFORMERS_READS, indirect=True)
def test_transformers_own_reader_finds_the_same(model: Model) -> None:
    checkpoint = model.checkpoint
    config, expected = oracle(model.path, checkpoint.config)
    assert set(checkpoint.tensors) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(checkpoint.read(name, "float32"), tensor), name
    shared = set(config) & set(checkpoint.config)
    assert {name: config[name] for name in shared} == {name: checkpoint.config[name] for name in shared}
