"""The same tiny random models in transformers and in this library, which loads the saved folder."""

from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.pytorch.distribution.layer_split import LayerSplit
from litgpt.adapters.pytorch.model.cache.kv_cache import KVCache
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.families import resolve_model
from litgpt.domain.ports import Checkpoint
from litgpt.domain.progress import null_reporter
from litgpt.domain.weights.mapping import ParameterSource
from tests.adapters.tiny_models import VOCAB_SIZE, tiny_model

WINDOW = 8


@attrs.frozen
class Variant:
    """A case of the agreement tests: a family and the special property of this model."""

    name: str
    family: str
    settings: dict[str, Any] = attrs.field(factory=dict)


_PLAIN = {"rope_type": "default", "rope_theta": 10000.0}
_DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 500.0}


def _yarn(**more: Any) -> dict[str, Any]:
    return {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 64,
        "rope_theta": 500.0,
        **more,
    }


def _longrope() -> dict[str, Any]:
    """Return factors for the six frequency pairs of a head."""
    return {
        "rope_type": "longrope",
        "rope_theta": 500.0,
        "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
        "long_factor": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    }


VARIANTS = (
    Variant("llama", "llama"),
    Variant("llama, head tied to the embedding", "llama", {"tie_word_embeddings": True}),
    Variant("llama, every projection with a bias", "llama", {"attention_bias": True, "mlp_bias": True}),
    Variant("llama, a head size of its own", "llama", {"head_dim": 20}),
    Variant("llama, one key-value head", "llama", {"num_key_value_heads": 1}),
    Variant("llama, as many key-value heads as query heads", "llama", {"num_key_value_heads": 4}),
    Variant("llama, gelu", "llama", {"hidden_act": "gelu"}),
    Variant(
        "llama, positions stretched linearly",
        "llama",
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}},
    ),
    Variant(
        "llama 3.1, long wavelengths stretched",
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
                "rope_theta": 500.0,
            }
        },
    ),
    Variant(
        "llama, dynamic positions, longer than the original context",
        "llama",
        {"max_position_embeddings": 24, "rope_parameters": _DYNAMIC},
    ),
    Variant("llama, dynamic positions, within it", "llama", {"rope_parameters": _DYNAMIC}),
    Variant("llama, YaRN", "llama", {"rope_parameters": _yarn()}),
    Variant("llama, YaRN without whole pairs", "llama", {"rope_parameters": _yarn(truncate=False)}),
    Variant(
        "llama, YaRN with a factor for attention",
        "llama",
        {"rope_parameters": _yarn(attention_factor=1.3, beta_fast=8.0, beta_slow=2.0)},
    ),
    Variant("mistral", "mistral"),
    Variant("mistral without a window", "mistral", {"sliding_window": None}),
    Variant("mixtral", "mixtral"),
    Variant("mixtral with a window", "mixtral", {"sliding_window": WINDOW}),
    Variant("qwen2", "qwen2"),
    Variant("qwen2, tied", "qwen2", {"tie_word_embeddings": True}),
    Variant(
        "qwen2, windows from the second layer on",
        "qwen2",
        {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    ),
    Variant("qwen3", "qwen3"),
    Variant("qwen3, tied, with biases", "qwen3", {"tie_word_embeddings": True, "attention_bias": True}),
    Variant("qwen3_moe", "qwen3_moe"),
    Variant("qwen3_moe, weights that sum to one", "qwen3_moe", {"norm_topk_prob": True}),
    Variant("qwen3_moe, some layers dense", "qwen3_moe", {"decoder_sparse_step": 2, "mlp_only_layers": [2]}),
    Variant("gemma", "gemma"),
    Variant("gemma2", "gemma2"),
    Variant(
        "gemma2 without caps", "gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None}
    ),
    Variant("gemma3", "gemma3_text"),
    Variant("gemma3, head apart from the embedding", "gemma3_text", {"tie_word_embeddings": False}),
    Variant("gemma3, attention with a bias", "gemma3_text", {"attention_bias": True}),
    Variant(
        "gemma3, full layers stretched",
        "gemma3_text",
        {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 100_000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0},
            }
        },
    ),
    Variant("phi", "phi"),
    Variant("phi, norms on queries and keys", "phi", {"qk_layernorm": True}),
    Variant("phi3", "phi3"),
    Variant(
        "phi3, a part of each head rotated",
        "phi3",
        {"rope_parameters": {**_PLAIN, "partial_rotary_factor": 0.5}},
    ),
    Variant("phi3, a window", "phi3", {"sliding_window": WINDOW}),
    Variant(
        "phi3, LongRoPE within the original context",
        "phi3",
        {"original_max_position_embeddings": 128, "rope_parameters": _longrope()},
    ),
    Variant(
        "phi3, LongRoPE beyond it",
        "phi3",
        {"original_max_position_embeddings": 16, "rope_parameters": _longrope()},
    ),
    Variant("gpt_neox", "gpt_neox"),
    Variant("gpt_neox, serial", "gpt_neox", {"use_parallel_residual": False}),
    Variant("gpt_neox, attention without biases", "gpt_neox", {"attention_bias": False}),
    Variant("falcon, the 7b layout", "falcon"),
    Variant(
        "falcon, the 7b layout with a head for each query and with biases",
        "falcon",
        {"multi_query": False, "bias": True},
    ),
    Variant("falcon, serial", "falcon", {"parallel_attn": False}),
    Variant(
        "falcon, the 40b and 180b layout", "falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}
    ),
    Variant(
        "falcon, the newer layout with one norm",
        "falcon",
        {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
    ),
    Variant("falcon, head apart from the embedding", "falcon", {"tie_word_embeddings": False}),
    Variant("stablelm", "stablelm"),
    Variant("stablelm, side by side", "stablelm", {"use_parallel_residual": True, "use_qkv_bias": True}),
    Variant("stablelm, norms on queries and keys", "stablelm", {"qk_layernorm": True}),
    Variant("olmo", "olmo"),
    Variant("olmo, bounded", "olmo", {"clip_qkv": 0.3}),
    Variant("olmo2", "olmo2"),
    Variant("deepseek_v3", "deepseek_v3"),
    Variant(
        "deepseek_v3, queries from the stream", "deepseek_v3", {"q_lora_rank": None, "attention_bias": True}
    ),
    Variant(
        "deepseek_v3, halves rotated", "deepseek_v3", {"rope_interleave": False, "norm_topk_prob": False}
    ),
    Variant("deepseek_v3, YaRN", "deepseek_v3", {"rope_parameters": _yarn(mscale=1.0, mscale_all_dim=0.7)}),
    Variant("gemma3n", "gemma3n_text"),
    Variant(
        "gemma3n, three streams of which the second is worked on, no scale, none borrowed",
        "gemma3n_text",
        {
            "altup_num_inputs": 3,
            "altup_active_idx": 1,
            "altup_correct_scale": False,
            "num_kv_shared_layers": 0,
            "final_logit_softcapping": 3.0,
        },
    ),
    Variant("gemma4", "gemma4_text"),
    Variant(
        "gemma4, values that are keys, experts, no second embedding, a cap, biases",
        "gemma4_text",
        {
            "attention_k_eq_v": True,
            "num_global_key_value_heads": 1,
            "enable_moe_block": True,
            "num_experts": 6,
            "top_k_experts": 2,
            "moe_intermediate_size": 24,
            "hidden_size_per_layer_input": 0,
            "num_kv_shared_layers": 0,
            "final_logit_softcapping": 3.0,
            "attention_bias": True,
        },
    ),
    Variant(
        "gemma4, dense, values that are keys",
        "gemma4_text",
        {"attention_k_eq_v": True, "num_global_key_value_heads": 2},
    ),
    Variant("gpt_oss", "gpt_oss"),
    Variant(
        "gpt_oss without biases, one layer windowed",
        "gpt_oss",
        {
            "attention_bias": False,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        },
    ),
    Variant("llama4", "llama4_text"),
    Variant(
        "llama4 without norms on queries and keys, two experts in each layer",
        "llama4_text",
        {
            "use_qk_norm": False,
            "attn_temperature_tuning": False,
            "interleave_moe_layer_step": 1,
            "num_experts_per_tok": 2,
        },
    ),
    Variant(
        "llama4 without chunks, with biases",
        "llama4_text",
        {"attention_chunk_size": None, "attention_bias": True},
    ),
    Variant("qwen3_5", "qwen3_5_text"),
    Variant("qwen3_5, attention alone", "qwen3_5_text", {"layer_types": ["full_attention"] * 3}),
    Variant(
        "qwen3_5, tied, with biases", "qwen3_5_text", {"tie_word_embeddings": True, "attention_bias": True}
    ),
    Variant(
        "qwen3_5, wide heads and a short convolution",
        "qwen3_5_text",
        {"linear_key_head_dim": 24, "linear_value_head_dim": 80, "linear_conv_kernel_dim": 2},
    ),
    Variant("qwen3_5_moe", "qwen3_5_moe_text"),
    Variant("qwen3_next", "qwen3_next"),
    Variant(
        "qwen3_next, biases, a key head for each of values, some layers dense",
        "qwen3_next",
        {
            "attention_bias": True,
            "linear_num_key_heads": 4,
            "mlp_only_layers": [1, 2],
            "norm_topk_prob": False,
        },
    ),
    Variant("qwen2_moe", "qwen2_moe"),
    Variant(
        "qwen2_moe, weights that sum to one, some layers dense",
        "qwen2_moe",
        {"norm_topk_prob": True, "mlp_only_layers": [1]},
    ),
    Variant("glm4", "glm4"),
    Variant("glm4 without biases", "glm4", {"attention_bias": False}),
    Variant("glm4_moe", "glm4_moe"),
    Variant(
        "glm4_moe, biases, no norms on queries and keys",
        "glm4_moe",
        {"attention_bias": True, "use_qk_norm": False},
    ),
    Variant("ministral3", "ministral3"),
    Variant("smollm3", "smollm3"),
    Variant(
        "smollm3, every second layer without positions",
        "smollm3",
        {"no_rope_layers": None, "no_rope_layer_interval": 2},
    ),
    Variant("olmo3", "olmo3"),
    Variant(
        "olmo3, full layers stretched",
        "olmo3",
        {
            "rope_parameters": {
                "full_attention": _yarn(),
                "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
            }
        },
    ),
    Variant("granite", "granite"),
    Variant("gpt2", "gpt2"),
    Variant("gpt2, a middle of its own, head apart", "gpt2", {"n_inner": 56, "tie_word_embeddings": False}),
    Variant("starcoder2", "starcoder2"),
    Variant("cohere", "cohere"),
    Variant(
        "cohere, norms on queries and keys, biases", "cohere", {"use_qk_norm": True, "attention_bias": True}
    ),
    Variant("cohere2", "cohere2"),
    Variant("nemotron", "nemotron"),
    Variant("nemotron, biases", "nemotron", {"attention_bias": True, "mlp_bias": True}),
    Variant("starcoder2, a window, no biases", "starcoder2", {"sliding_window": WINDOW, "use_bias": False}),
    Variant("ernie4_5", "ernie4_5"),
    Variant("ernie4_5, biases", "ernie4_5", {"use_bias": True, "tie_word_embeddings": False}),
    Variant("exaone4", "exaone4"),
    Variant(
        "exaone4 without windows", "exaone4", {"sliding_window": None, "layer_types": ["full_attention"] * 3}
    ),
    Variant("seed_oss", "seed_oss"),
    Variant(
        "seed_oss, biases elsewhere",
        "seed_oss",
        {"attention_bias": False, "attention_out_bias": True, "mlp_bias": True},
    ),
    Variant("hunyuan_v1_dense", "hunyuan_v1_dense"),
    Variant(
        "hunyuan_v1_dense, a base that has grown",
        "hunyuan_v1_dense",
        {
            "attention_bias": True,
            "rope_parameters": {"rope_type": "dynamic", "alpha": 30.0, "factor": 1.0, "rope_theta": 500.0},
        },
    ),
    Variant("minimax_m2", "minimax_m2"),
    Variant("granitemoe", "granitemoe"),
    Variant("phimoe", "phimoe"),
    Variant(
        "phimoe, a window, biases",
        "phimoe",
        {"sliding_window": WINDOW, "attention_bias": True, "lm_head_bias": True},
    ),
    Variant(
        "phimoe, LongRoPE within the original context",
        "phimoe",
        {
            "rope_parameters": {
                **_longrope(),
                "original_max_position_embeddings": 128,
                "short_mscale": 1.1,
                "long_mscale": 1.2,
            }
        },
    ),
    Variant(
        # transformers takes the short factors for a longer text as well, unlike the model's own code.
        "phimoe, LongRoPE beyond it, the same factors",
        "phimoe",
        {
            "rope_parameters": {
                **_longrope(),
                "long_factor": _longrope()["short_factor"],
                "original_max_position_embeddings": 16,
                "short_mscale": 1.1,
                "long_mscale": 1.2,
            }
        },
    ),
    Variant("deepseek_v2", "deepseek_v2"),
    Variant(
        "deepseek_v2, no groups, queries from the stream, YaRN",
        "deepseek_v2",
        {
            "topk_method": "greedy",
            "q_lora_rank": None,
            "attention_bias": True,
            "mlp_bias": True,
            "rope_parameters": _yarn(mscale=0.7, mscale_all_dim=0.7),
        },
    ),
    Variant(
        "deepseek_v2, positions stretched linearly, scores as well",
        "deepseek_v2",
        {
            "rope_parameters": {
                "rope_type": "linear",
                "factor": 4.0,
                "rope_theta": 500.0,
                "mscale_all_dim": 0.7,
            }
        },
    ),
    Variant("glm4_moe_lite", "glm4_moe_lite"),
    Variant(
        "glm4_moe_lite, groups of experts, two dense layers, queries from the stream",
        "glm4_moe_lite",
        {
            "n_routed_experts": 8,
            "n_group": 4,
            "topk_group": 2,
            "mlp_layer_types": ["dense", "sparse", "dense"],
            "q_lora_rank": None,
        },
    ),
    Variant("deepseek_v32", "deepseek_v32"),
    Variant(
        "deepseek_v32, biases, YaRN, another share of dense layers",
        "deepseek_v32",
        {
            "attention_bias": True,
            "mlp_layer_types": ["sparse", "dense", "sparse"],
            "rope_parameters": _yarn(mscale=1.0, mscale_all_dim=0.7),
        },
    ),
    Variant("glm_moe_dsa", "glm_moe_dsa"),
    Variant(
        "glm_moe_dsa, two layers with the first one's tokens",
        "glm_moe_dsa",
        {"index_topk_pattern": "FSS", "index_topk": 3},
    ),
    Variant("longcat_flash", "longcat_flash"),
    Variant(
        "longcat_flash, biases, YaRN, no experts that return their input",
        "longcat_flash",
        {
            "attention_bias": True,
            "zero_expert_num": 0,
            "rope_parameters": _yarn(mscale=1.0, mscale_all_dim=0.7),
        },
    ),
    Variant("axk2", "axk2"),
    Variant("axk2, groups of experts", "axk2", {"n_routed_experts": 8, "n_group": 4, "topk_group": 2}),
    Variant("minicpm3", "minicpm3"),
    Variant(
        "minicpm3, no scales, biases, values of the usual size",
        "minicpm3",
        {
            "scale_depth": None,
            "dim_model_base": None,
            "attention_bias": True,
            "mlp_bias": True,
            "v_head_dim": None,
            "tie_word_embeddings": False,
            "q_lora_rank": None,
        },
    ),
    Variant("mistral4", "mistral4"),
    Variant("youtu", "youtu"),
    Variant("sarvam_mla", "sarvam_mla"),
    Variant("apertus", "apertus"),
    Variant(
        "apertus, biases, another activation, not stretched",
        "apertus",
        {"attention_bias": True, "hidden_act": "relu2", "rope_parameters": _PLAIN},
    ),
    Variant("gpt_bigcode", "gpt_bigcode"),
    Variant("gpt_bigcode, a key-value head for each query", "gpt_bigcode", {"multi_query": False}),
    Variant("gptj", "gptj"),
    Variant("gptj, tied", "gptj", {"tie_word_embeddings": True}),
    Variant("opt", "opt"),
    Variant(
        "opt, without biases and without weights in its norms",
        "opt",
        {"enable_bias": False, "layer_norm_elementwise_affine": False, "activation_function": "gelu"},
    ),
    Variant("bloom", "bloom"),
    Variant("bloom, a number of heads that is no power of two", "bloom", {"num_attention_heads": 6}),
    Variant("mpt", "mpt"),
    Variant(
        "mpt, bounded, with a scale of its own and six heads",
        "mpt",
        {"num_attention_heads": 6, "attn_config": {"clip_qkv": 0.3, "softmax_scale": 0.4}},
    ),
    Variant("falcon, scores that fall", "falcon", {"alibi": True, "multi_query": False, "bias": True}),
    Variant(
        # With twelve heads not all slopes are powers of two, so that rounding is detected.
        "falcon, scores that fall, twelve heads and one key-value head",
        "falcon",
        {"alibi": True, "num_attention_heads": 12},
    ),
    Variant("arcee", "arcee"),
    Variant("arcee, biases", "arcee", {"attention_bias": True, "mlp_bias": True}),
    Variant("helium", "helium"),
    Variant("exaone", "exaone"),
    Variant("cwm", "cwm"),
    Variant("ministral", "ministral"),
    Variant("glm", "glm"),
    Variant("nanochat", "nanochat"),
    Variant("vaultgemma", "vaultgemma"),
    Variant("internlm3", "internlm3"),
    Variant("internlm3, biases", "internlm3", {"attention_bias": True, "mlp_bias": True}),
    Variant("jais2", "jais2"),
    Variant("hyperclovax", "hyperclovax"),
    Variant(
        "hyperclovax without post-norms",
        "hyperclovax",
        {"use_post_norm": False, "attention_multiplier": None},
    ),
    Variant("granite_swa", "granite_swa"),
    Variant(
        "granite_swa, a base for each layer",
        "granite_swa",
        {"layer_rope_theta": [500.0, 0, 10000.0]},
    ),
    Variant("iquestcoder", "iquestcoder"),
    Variant("gpt_neo", "gpt_neo"),
    Variant("codegen", "codegen"),
    Variant("persimmon", "persimmon"),
    Variant("persimmon without QK-Norm", "persimmon", {"qk_layernorm": False}),
    Variant("biogpt", "biogpt"),
    Variant("biogpt, embeddings without a scale", "biogpt", {"scale_embedding": False}),
    Variant("mellum", "mellum"),
    Variant("gemma4_unified", "gemma4_unified_text"),
    Variant(
        "gemma4_unified, values that are keys",
        "gemma4_unified_text",
        {"attention_k_eq_v": True, "num_global_key_value_heads": 1, "num_kv_shared_layers": 0},
    ),
    Variant("openai-gpt", "openai-gpt"),
    Variant("xglm", "xglm"),
    Variant("xglm, embeddings without a scale", "xglm", {"scale_embedding": False}),
    Variant("ctrl, a final norm of its own", "ctrl", {"layer_norm_epsilon": 0.05}),
    Variant("olmoe", "olmoe"),
    Variant("olmoe, bounded after the norms", "olmoe", {"clip_qkv": 0.5, "norm_topk_prob": True}),
    Variant("ernie4_5_moe", "ernie4_5_moe"),
    Variant(
        "ernie4_5_moe, biases, no shared expert, experts in the second layer",
        "ernie4_5_moe",
        {"use_bias": True, "moe_num_shared_experts": 0, "moe_layer_interval": 2, "moe_layer_start_index": 0},
    ),
    Variant("dots1", "dots1"),
    Variant(
        "dots1, a window from the second layer on",
        "dots1",
        {"sliding_window": WINDOW, "max_window_layers": 1},
    ),
    Variant("granitemoeshared", "granitemoeshared"),
    Variant("granitemoeshared without a shared expert", "granitemoeshared", {"shared_intermediate_size": 0}),
    Variant("hunyuan_v1_moe", "hunyuan_v1_moe"),
    Variant("exaone_moe", "exaone_moe"),
    Variant("solar_open", "solar_open"),
    Variant("afmoe", "afmoe"),
    Variant("mimo_v2_flash", "mimo_v2_flash"),
    Variant(
        "mimo_v2_flash, biases, values not scaled",
        "mimo_v2_flash",
        {"attention_bias": True, "attention_value_scale": None, "num_key_value_heads": 2},
    ),
    Variant("cohere2_moe", "cohere2_moe"),
    Variant(
        "cohere2_moe, a dense layer with RoPE, sigmoid scores, a sum, RMSNorm",
        "cohere2_moe",
        {
            "first_k_dense_replace": 1,
            "prefix_dense_intermediate_size": 56,
            "expert_selection_fn": "sigmoid",
            "shared_expert_combination_strategy": "sum",
            "rms_norm_eps": 1e-5,
        },
    ),
    Variant("flex_olmo", "flex_olmo"),
    Variant("granitemoe_swa", "granitemoe_swa"),
    Variant("granitemoe_swa, one base", "granitemoe_swa", {"layer_rope_theta": None}),
    Variant("hy_v3", "hy_v3"),
    Variant("hy_v3, biases", "hy_v3", {"attention_bias": True, "mlp_bias": True, "num_experts": 4}),
    Variant("sarvam_moe", "sarvam_moe"),
    Variant("aria_text", "aria_text"),
    Variant("aria_text, another activation of the shared experts", "aria_text", {"hidden_act": "gelu"}),
    Variant("flint", "flint"),
    Variant("kolibri1", "kolibri1"),
    Variant("lfm2", "lfm2"),
    Variant(
        "lfm2, biases, a longer convolution, the size of the MLP as given",
        "lfm2",
        {
            "conv_bias": True,
            "conv_L_cache": 5,
            "block_auto_adjust_ff_dim": False,
            "tie_word_embeddings": False,
        },
    ),
    Variant("lfm2_moe", "lfm2_moe"),
    Variant("lfm2_moe without a correction", "lfm2_moe", {"use_expert_bias": False, "norm_topk_prob": False}),
    Variant("minimax", "minimax"),
    Variant(
        "minimax, factors of the residual connections",
        "minimax",
        {
            "full_attn_alpha_factor": 1.2,
            "full_attn_beta_factor": 0.9,
            "linear_attn_alpha_factor": 0.8,
            "linear_attn_beta_factor": 1.1,
            "mlp_alpha_factor": 1.3,
            "mlp_beta_factor": 0.7,
        },
    ),
    Variant("kimi_linear", "kimi_linear"),
    Variant(
        "kimi_linear, queries from the stream, all layers sparse",
        "kimi_linear",
        {
            "q_lora_rank": None,
            "mlp_layer_types": ["sparse"] * 3,
            "norm_topk_prob": False,
            "n_group": 1,
            "topk_group": 1,
            "linear_conv_kernel_dim": 2,
        },
    ),
    Variant("olmo_hybrid", "olmo_hybrid"),
    Variant(
        "olmo_hybrid without positions, biases, no negative eigenvalues",
        "olmo_hybrid",
        {
            "rope_parameters": {"rope_type": "default", "rope_theta": None},
            "attention_bias": True,
            "linear_allow_neg_eigval": False,
        },
    ),
    Variant("bailing_hybrid", "bailing_hybrid"),
    Variant(
        "bailing_hybrid, decays without a bound, queries from the stream",
        "bailing_hybrid",
        {
            "kda_safe_gate": False,
            "q_lora_rank": None,
            "rope_parameters": _yarn(mscale=1.0, mscale_all_dim=0.7),
        },
    ),
    Variant("recurrent_gemma", "recurrent_gemma"),
    Variant(
        "recurrent_gemma, biases, a lower cap",
        "recurrent_gemma",
        {"attention_bias": True, "logits_soft_cap": 3.0, "tie_word_embeddings": False},
    ),
    Variant("lfm3", "lfm3"),
    Variant(
        "lfm3, biases, no gates and post-norms",
        "lfm3",
        {
            "attention_bias": True,
            "conv_bias": True,
            "use_attention_gate": False,
            "use_sandwich_norm": False,
            "tie_word_embeddings": False,
        },
    ),
    Variant("granitemoehybrid", "granitemoehybrid"),
    Variant(
        "granitemoehybrid, without experts, with RoPE, biases, one group",
        "granitemoehybrid",
        {
            "num_local_experts": 0,
            "position_embedding_type": "rope",
            "attention_bias": True,
            "mamba_proj_bias": True,
            "mamba_n_groups": 1,
        },
    ),
    Variant("mamba2", "mamba2"),
    Variant(
        "mamba2, tied, biases of projections only",
        "mamba2",
        {"use_bias": True, "use_conv_bias": False, "tie_word_embeddings": True},
    ),
    Variant("bamba", "bamba"),
    Variant("falcon_h1", "falcon_h1"),
    Variant(
        "falcon_h1, a norm before the gate, biases",
        "falcon_h1",
        {
            "mamba_rms_norm": True,
            "mamba_proj_bias": True,
            "projectors_bias": True,
            "attention_bias": True,
            "mlp_bias": True,
        },
    ),
    Variant(
        "falcon_h1, a norm after the gate",
        "falcon_h1",
        {"mamba_rms_norm": True, "mamba_norm_before_gate": False, "mamba_d_ssm": None},
    ),
    Variant("mamba", "mamba"),
    Variant(
        "mamba, biases of projections only",
        "mamba",
        {"use_bias": True, "use_conv_bias": False, "tie_word_embeddings": False, "time_step_rank": 5},
    ),
    Variant("falcon_mamba", "falcon_mamba"),
    Variant("jamba", "jamba"),
    Variant("jamba, without experts", "jamba", {"num_experts": 1, "num_experts_per_tok": 1}),
    Variant("nemotron_h", "nemotron_h"),
    Variant(
        "nemotron_h, biases, no experts",
        "nemotron_h",
        {
            "layers_block_type": ["linear_attention", "full_attention", "mlp"],
            "use_bias": True,
            "mlp_bias": True,
        },
    ),
)


TORCH_ONLY = frozenset(
    {
        "axk2",
        "bailing_hybrid",
        "bamba",
        "deepseek_v32",
        "falcon_h1",
        "falcon_mamba",
        "glm_moe_dsa",
        "granitemoehybrid",
        "jamba",
        "kimi_linear",
        "lfm3",
        "longcat_flash",
        "mamba",
        "mamba2",
        "minimax",
        "nemotron_h",
        "olmo_hybrid",
        "recurrent_gemma",
    }
)
"""Families with layers that the native engine does not have."""


@attrs.frozen(eq=False)
class Pair:
    """A model in transformers and in this library, and its checkpoint."""

    reference: Any
    actual: GPT
    joins: tuple[ParameterSource, ...]
    checkpoint: Checkpoint[Tensor]

    def expected(self, ids: Tensor) -> Tensor:
        """Return transformers' logits (B, T, V)."""
        with torch.inference_mode():
            logits: Tensor = self.reference(ids).logits
            return logits

    def cache(self, tokens: int, starts: tuple[int, ...] = (0,)) -> KVCache:
        """Return an empty cache for texts of up to `tokens` tokens."""
        return KVCache.empty(
            self.actual.architecture,
            max_length=tokens,
            device=torch.device("cpu"),
            dtype=torch.float32,
            row_offsets=starts,
        )


def pair(variant: Variant, folder: Path) -> Pair:
    """Return both models; transformers saves its model to `folder`, from which this library loads it."""
    reference = tiny_model(variant.family, **variant.settings)
    reference.save_pretrained(folder)
    checkpoint = open_hf_folder(folder, variant.name)
    resolved = resolve_model(variant.name, checkpoint.config, checkpoint.tensors)
    placement = Placement(devices=("cpu",), dtype="float32")
    placed = LayerSplit().build(placement, resolved.architecture, resolved.sources, checkpoint, null_reporter)
    return Pair(reference, placed.network, resolved.sources, checkpoint)


def random_ids(rows: int, tokens: int) -> Tensor:
    """Return ids (rows, tokens), the same on each call."""
    return torch.randint(VOCAB_SIZE, (rows, tokens), generator=torch.Generator().manual_seed(1))
