"""Tiny random models, written by transformers as Hugging Face folders, each once per session."""

import atexit
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VOCAB_SIZE = 288

SIZES = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}

_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 24}

_LATENT = {
    "num_key_value_heads": 4,
    "q_lora_rank": 20,
    "kv_lora_rank": 24,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 12,
}

_DELTA = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 12,
}

# The reference computes in chunks of this many tokens.
_MAMBA2 = {"mamba_n_heads": 4, "mamba_n_groups": 2, "mamba_d_state": 16, "mamba_chunk_size": 16}

_HALF = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 8},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
    "qwen3_moe": {"num_experts": 6, **_EXPERTS},
    "gemma": {"head_dim": 16},
    "gemma2": {
        "head_dim": 16,
        "query_pre_attn_scalar": 20,
        "sliding_window": 8,
        # Low enough that scores and logits feel them.
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
    },
    "gemma3_text": {
        "head_dim": 16,  # not the width over the heads
        "query_pre_attn_scalar": 20,  # not the head's size
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    },
    "phi": {},
    "phi3": {},
    "gpt_neox": {"rope_parameters": _HALF},
    "falcon": {},
    "stablelm": {"rope_parameters": _HALF},
    "olmo": {},
    "olmo2": {},
    "deepseek_v3": {
        "n_routed_experts": 8,
        **_EXPERTS,
        "n_group": 4,
        "topk_group": 2,
        "n_shared_experts": 2,
        "first_k_dense_replace": 1,
        **_LATENT,
    },
    "gemma3n_text": {
        "num_hidden_layers": 5,
        "intermediate_size": [32, 32, 48, 48, 48],
        "head_dim": 12,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"] * 2 + ["full_attention"],
        "num_kv_shared_layers": 3,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": VOCAB_SIZE - 8,
        "activation_sparsity_pattern": [0.6, 0.0, 0.3, 0.0, 0.0],
        "laurel_rank": 6,
    },
    "gemma4_text": {
        "num_hidden_layers": 5,
        "head_dim": 12,
        "global_head_dim": 16,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"] * 2 + ["full_attention"],
        "num_kv_shared_layers": 3,
        "use_double_wide_mlp": True,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": VOCAB_SIZE,
    },
    "gpt_oss": {
        "head_dim": 16,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "sliding_window": 8,
        # Low enough that gates feel it.
        "swiglu_limit": 0.4,
    },
    "llama4_text": {
        "num_hidden_layers": 4,
        "head_dim": 12,
        "intermediate_size": 24,
        "intermediate_size_mlp": 80,
        "num_local_experts": 4,
        "interleave_moe_layer_step": 2,
        "no_rope_layers": [1, 0, 1, 1],
        "attention_chunk_size": 8,
        "attn_scale": 0.5,
        "floor_scale": 4,
    },
    "qwen3_5_text": {
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "head_dim": 16,
        **_DELTA,
    },
    "qwen3_5_moe_text": {
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "head_dim": 16,
        "num_experts": 6,
        **_EXPERTS,
        "shared_expert_intermediate_size": 40,
        **_DELTA,
    },
    "qwen3_next": {
        "num_hidden_layers": 4,
        "layer_types": ["linear_attention", "full_attention", "linear_attention", "linear_attention"],
        "head_dim": 16,
        "num_experts": 6,
        **_EXPERTS,
        "shared_expert_intermediate_size": 40,
        **_DELTA,
    },
    "qwen2_moe": {"num_experts": 6, **_EXPERTS, "shared_expert_intermediate_size": 40},
    "glm4": {"head_dim": 16, "rope_parameters": _HALF},
    "glm4_moe": {
        "n_routed_experts": 8,
        **_EXPERTS,
        "n_group": 4,
        "topk_group": 2,
        "n_shared_experts": 2,
        "use_qk_norm": True,
        "rope_parameters": _HALF,
    },
    "ministral3": {
        "head_dim": 16,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 500.0,
            "factor": 4.0,
            "original_max_position_embeddings": 16,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "llama_4_scaling_beta": 0.5,
        },
    },
    "smollm3": {"no_rope_layers": [1, 0, 1]},
    "olmo3": {
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "granite": {
        "embedding_multiplier": 3.0,
        "attention_multiplier": 0.2,
        "residual_multiplier": 0.7,
        "logits_scaling": 2.0,
    },
    "gpt2": {},
    "starcoder2": {},
    "cohere": {"logit_scale": 0.5},
    "cohere2": {
        "logit_scale": 0.5,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "nemotron": {"rope_parameters": _HALF},
    "ernie4_5": {"head_dim": 16},
    "exaone4": {
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "seed_oss": {"head_dim": 16},
    "hunyuan_v1_dense": {"head_dim": 16},
    "minimax_m2": {
        "num_local_experts": 6,
        "num_experts_per_tok": 2,
        "head_dim": 16,
        "rope_parameters": _HALF,
    },
    "granitemoe": {
        "num_local_experts": 6,
        "num_experts_per_tok": 2,
        "embedding_multiplier": 3.0,
        "attention_multiplier": 0.2,
        "residual_multiplier": 0.7,
        "logits_scaling": 2.0,
    },
    # Noise large enough that several experts come close to the best.
    "phimoe": {"num_local_experts": 6, "num_experts_per_tok": 2, "router_jitter_noise": 0.3},
    "deepseek_v2": {
        "n_routed_experts": 8,
        **_EXPERTS,
        "topk_method": "group_limited_greedy",
        "n_group": 4,
        "topk_group": 2,
        "n_shared_experts": 2,
        "first_k_dense_replace": 1,
        "routed_scaling_factor": 1.5,
        **_LATENT,
    },
    "apertus": {},
    "gpt_bigcode": {},
    "gptj": {"rotary_dim": 6},
    "opt": {"ffn_dim": 80, "word_embed_proj_dim": 48},
    "bloom": {},
    "mpt": {"attn_config": {"alibi_bias_max": 8}},
    "granitemoehybrid": {
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "num_local_experts": 6,
        "num_experts_per_tok": 2,
        "shared_intermediate_size": 40,
        "embedding_multiplier": 3.0,
        "attention_multiplier": 0.2,
        "residual_multiplier": 0.7,
        "logits_scaling": 2.0,
        **_MAMBA2,
    },
    "mamba2": {"num_heads": 4, "head_dim": 24, "n_groups": 2, "state_size": 16, "chunk_size": 16},
    "bamba": {"attn_layer_indices": [1], **_MAMBA2},
    "falcon_h1": {
        **_MAMBA2,
        "mamba_d_ssm": 40,
        "lm_head_multiplier": 0.5,
        "embedding_multiplier": 3.0,
        "mlp_multipliers": [0.7, 1.3],
        "key_multiplier": 0.6,
        "attention_in_multiplier": 0.8,
        "attention_out_multiplier": 1.2,
        "ssm_multipliers": [0.6, 1.4, 0.9, 1.1, 0.7],
        "ssm_in_multiplier": 1.25,
        "ssm_out_multiplier": 0.75,
    },
    "mamba": {},
    "falcon_mamba": {},
    "jamba": {
        "num_hidden_layers": 4,
        "attn_layer_period": 3,
        "attn_layer_offset": 1,
        "num_experts": 6,
        "mamba_d_state": 8,
    },
    "nemotron_h": {
        "layers_block_type": ["linear_attention", "mlp", "full_attention", "moe", "linear_attention"],
        "head_dim": 16,
        "mamba_num_heads": 4,
        "mamba_head_dim": 20,
        "n_groups": 2,
        "ssm_state_size": 16,
        "chunk_size": 16,
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
        "moe_shared_expert_intermediate_size": 40,
        "n_group": 4,
        "topk_group": 2,
        "routed_scaling_factor": 1.5,
    },
}
"""What each family adds to the sizes that all have."""

_HOME = TemporaryDirectory(prefix="tiny-models-", ignore_cleanup_errors=True)
atexit.register(_HOME.cleanup)


def tiny_model(family: str, *, seed: int = 0, **settings: Any) -> "PreTrainedModel":
    """Return a random model in float32; norms and biases are random too, so that a swap is detected.

    Args:
        family: The `model_type`.
        seed: Another seed gives another model.
        settings: Override the settings of this module.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(family, **(SIZES | FAMILIES[family] | settings))
    return randomize(AutoModelForCausalLM.from_config(config, dtype=torch.float32), seed=seed)


def randomize(model: "PreTrainedModel", *, seed: int = 0) -> "PreTrainedModel":
    """Give a transformers model random weights, including norms and biases, and return it."""
    import torch

    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        embedding = model.get_input_embeddings().weight
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=random)
            # Vectors stay around what they begin at: a norm's weight around 1, or around 0 where it counts
            # from 1.
            parameter.copy_(parameter + 0.3 * noise if parameter.ndim == 1 else 0.1 * noise)
        # Tokens differ by more than the biases, which are the same for all.
        cast("torch.Tensor", embedding).mul_(5)
        for name, buffer in model.named_buffers():
            if name.endswith(("act_fn.beta", "act_fn.eps")):
                buffer.add_(-0.3 * torch.rand(buffer.shape, generator=random))
            if name.endswith("layer_scalar"):
                buffer.add_(0.3 * torch.randn(buffer.shape, generator=random))
            if "correction_bias" in name:
                buffer.copy_(0.03 * torch.randn(buffer.shape, generator=random))
    model.eval()
    return model


@cache
def tiny_folder(
    family: str, *, sharded: bool = False, dtype: str = "float32", seed: int = 0, tied: bool | None = None
) -> Path:
    """Return a folder with a tiny model, its configs and a byte-level tokenizer; read-only.

    Args:
        family: The `model_type`.
        sharded: Whether the weights are in several files with an index, or in one.
        dtype: The stored dtype, as torch names it.
        seed: Another seed gives another model.
        tied: Whether the head is tied to the embedding; None for the family's default.
    """
    import torch

    folder = Path(_HOME.name) / f"{family}-{sharded}-{dtype}-{seed}-{tied}"
    settings = {} if tied is None else {"tie_word_embeddings": tied}
    model = tiny_model(family, seed=seed, **settings).to(getattr(torch, dtype))
    model.save_pretrained(folder, max_shard_size="60KB" if sharded else "1GB")
    save_byte_tokenizer(folder)
    return folder


def save_many_experts(folder: Path) -> None:
    """Save a model with more experts than the native engine has room for."""
    tiny_model("mixtral", num_hidden_layers=1, num_local_experts=1025).save_pretrained(folder)
    save_byte_tokenizer(folder)


def save_byte_tokenizer(folder: Path) -> None:
    """Write a tokenizer with two special tokens and one token for each byte."""
    _byte_tokenizer().save(str(folder / "tokenizer.json"))


def _byte_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    special = ["<|begin|>", "<|end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.add_special_tokens(special)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
