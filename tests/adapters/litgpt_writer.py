"""Write a transformers model as a LitGPT 0.5.13 folder, without the library's own rules.

LitGPT 0.5.13 itself was run on these folders: it loads each with `strict` and computes transformers' logits,
except for YaRN, where LitGPT exchanges high and low frequencies.
"""

import re
from pathlib import Path
from typing import Any

import torch
import yaml

# Every field of LitGPT's `Config`, with the values that the models here share.
SETTINGS: dict[str, Any] = {
    "attention_logit_softcapping": None,
    "attention_scores_scalar": None,
    "attn_bias": False,
    "bias": False,
    "block_size": 256,
    "final_logit_softcapping": None,
    "first_k_dense_replace": None,
    "gelu_approximate": "none",
    "head_size": 12,
    "hf_config": {"name": "no-name-that-says-anything", "org": "nobody"},
    "intermediate_size": 80,
    "latent_attention": None,
    "lm_head_bias": False,
    "mlp_class_name": "LLaMAMLP",
    "moe_intermediate_size": None,
    "n_embd": 48,
    "n_expert": 0,
    "n_expert_groups": None,
    "n_expert_per_token": 0,
    "n_head": 4,
    "n_layer": 3,
    "n_query_groups": 2,
    "n_shared_expert": None,
    "n_topk_groups": None,
    "n_topk_scores_per_group": None,
    "name": "no-name-that-says-anything",
    "norm_1": True,
    "norm_2": True,
    "norm_class_name": "RMSNorm",
    "norm_eps": 1e-6,
    "norm_qk": False,
    "norm_qk_type": "default",
    "norm_topk_prob": False,
    "padded_vocab_size": 288,
    "padding_multiple": 512,
    "parallel_residual": False,
    "post_attention_norm": False,
    "post_mlp_norm": False,
    "rope_adjustments": None,
    "rope_base": 10000,
    "rope_condense_ratio": 1,
    "rope_indices": None,
    "rope_interleave": False,
    "rope_local_base_freq": None,
    "rotary_percentage": 1.0,
    "routed_scaling_factor": 1.0,
    "scale_embeddings": False,
    "shared_attention_norm": False,
    "sliding_window_indices": None,
    "sliding_window_size": None,
    "vocab_size": 270,  # the tokenizer's size; the other rows are padding
}

_WINDOWED = [1, 1, 0]
_LAYER_NORM = {"norm_class_name": "LayerNorm", "norm_eps": 1e-5}
_PLAIN = {**_LAYER_NORM, "mlp_class_name": "GptNeoxMLP", "parallel_residual": True}
_EXPERTS = {"mlp_class_name": "LLaMAMoE", "n_expert_per_token": 2}
_GEMMA = {
    "gelu_approximate": "tanh",
    "head_size": 16,
    "mlp_class_name": "GemmaMLP",
    "name": "tiny-Gemma",  # by which LitGPT knows that norms count from 1
    "scale_embeddings": True,
}
_GEMMA_2 = {**_GEMMA, "attention_scores_scalar": 20, "post_attention_norm": True, "post_mlp_norm": True}

OF_FAMILY: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window_indices": [1, 1, 1], "sliding_window_size": 8},
    "mixtral": {**_EXPERTS, "n_expert": 4, "norm_eps": 1e-5, "rope_base": 1_000_000},
    "qwen2": {"attn_bias": True},
    "qwen3": {"head_size": 16, "norm_qk": True},
    "qwen3_moe": {**_EXPERTS, "moe_intermediate_size": 24, "n_expert": 6, "norm_qk": True},
    "gemma": _GEMMA,
    "gemma2": {
        **_GEMMA_2,
        "attention_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
        "sliding_window_indices": [1, 0, 1],
        "sliding_window_size": 8,
    },
    "gemma3_text": {
        **_GEMMA_2,
        "norm_qk": True,
        "rope_base": 1_000_000,
        "rope_indices": _WINDOWED,
        "rope_local_base_freq": 10_000,
        "sliding_window_indices": _WINDOWED,  # the same list twice: yaml writes an anchor and an alias
        "sliding_window_size": 8,
    },
    "phi": {
        **_PLAIN,
        "bias": True,
        "gelu_approximate": "tanh",
        "lm_head_bias": True,
        "rotary_percentage": 0.5,
        "shared_attention_norm": True,
    },
    "phi3": {"norm_eps": 1e-5},
    "gpt_neox": {**_PLAIN, "bias": True, "n_query_groups": 4, "rotary_percentage": 0.5},
    "falcon": {**_PLAIN, "intermediate_size": 192, "n_query_groups": 1, "shared_attention_norm": True},
    "stablelm": {**_LAYER_NORM, "rotary_percentage": 0.5},
    "olmo": {**_LAYER_NORM, "name": "tiny-OLMo"},  # by which LitGPT knows that norms have no weights
    "olmo2": {
        "norm_1": False,
        "norm_2": False,
        "norm_eps": 1e-5,
        "norm_qk": True,
        "norm_qk_type": "olmo2",
        "post_attention_norm": True,
        "post_mlp_norm": True,
    },
    "deepseek_v3": {
        **_EXPERTS,
        "first_k_dense_replace": 1,
        "latent_attention": {
            "kv_lora_rank": 24,
            "q_lora_rank": 20,
            "qk_nope_head_dim": 16,
            "qk_rope_head_dim": 8,
            "v_head_dim": 12,
        },
        "moe_intermediate_size": 24,
        "n_expert": 8,
        "n_expert_groups": 4,
        "n_query_groups": 4,
        "n_shared_expert": 2,
        "n_topk_groups": 2,
        "n_topk_scores_per_group": 2,
        "norm_topk_prob": True,
        "rope_interleave": True,
        "routed_scaling_factor": 2.5,
    },
}
"""What each family of `tiny_models` is in LitGPT's settings, besides what all have."""

# Module names of each family and LitGPT's names for them. `{}` is an expert's index.
_LAYER = {
    "input_layernorm": "norm_1",
    "post_attention_layernorm": "norm_2",
    "self_attn.o_proj": "attn.proj",
    "self_attn.q_norm": "attn.norm_q",
    "self_attn.k_norm": "attn.norm_k",
    "mlp.gate_proj": "mlp.fc_1",
    "mlp.up_proj": "mlp.fc_2",
    "mlp.down_proj": "mlp.proj",
    "mlp.gate": "mlp.gate",
    "mlp.experts.{}.gate_proj": "mlp.experts.{}.fc_1",
    "mlp.experts.{}.up_proj": "mlp.experts.{}.fc_2",
    "mlp.experts.{}.down_proj": "mlp.experts.{}.proj",
    "mlp.shared_experts.gate_proj": "mlp.shared_experts.fc_1",
    "mlp.shared_experts.up_proj": "mlp.shared_experts.fc_2",
    "mlp.shared_experts.down_proj": "mlp.shared_experts.proj",
    "self_attn.q_a_proj": "attn.q_a_proj",
    "self_attn.q_a_layernorm": "attn.q_a_norm",
    "self_attn.q_b_proj": "attn.q_b_proj",
    "self_attn.kv_a_proj_with_mqa": "attn.kv_a_proj_with_mqa",
    "self_attn.kv_a_layernorm": "attn.kv_a_norm",
    "self_attn.kv_b_proj": "attn.kv_b_proj",
    "block_sparse_moe.gate": "mlp.gate",
    "block_sparse_moe.experts.{}.w1": "mlp.experts.{}.fc_1",
    "block_sparse_moe.experts.{}.w3": "mlp.experts.{}.fc_2",
    "block_sparse_moe.experts.{}.w2": "mlp.experts.{}.proj",
    "self_attn.dense": "attn.proj",
    "self_attn.q_layernorm": "attn.norm_q",
    "self_attn.k_layernorm": "attn.norm_k",
    "mlp.fc1": "mlp.fc",
    "mlp.fc2": "mlp.proj",
    "attention.dense": "attn.proj",
    "self_attention.dense": "attn.proj",
    "mlp.dense_h_to_4h": "mlp.fc",
    "mlp.dense_4h_to_h": "mlp.proj",
    "ln_attn": "norm_1",
    "ln_mlp": "norm_2",
}
_WITH_NORMS_AFTER = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "norm_2",
    "post_feedforward_layernorm": "post_mlp_norm",
}
_WHOLE = {
    "model.embed_tokens": "transformer.wte",
    "model.norm": "transformer.ln_f",
    "lm_head": "lm_head",
    "model.final_layernorm": "transformer.ln_f",
    "gpt_neox.embed_in": "transformer.wte",
    "gpt_neox.final_layer_norm": "transformer.ln_f",
    "embed_out": "lm_head",
    "transformer.word_embeddings": "transformer.wte",
    "transformer.ln_f": "transformer.ln_f",
}
_IN_A_LAYER = re.compile(r"(?:model\.layers|gpt_neox\.layers|transformer\.h)\.(\d+)\.(.+)\.(\w+)")
_EXPERT = re.compile(r"(?<=experts\.)\d+")


def settings_of(family: str, **changed: Any) -> dict[str, Any]:
    return SETTINGS | OF_FAMILY[family] | changed


def litgpt_state(family: str, reference: dict[str, torch.Tensor], **changed: Any) -> dict[str, torch.Tensor]:
    """Return LitGPT's tensors of a model.

    Args:
        family: The `model_type`.
        reference: Its tensors, as transformers saves them.
        changed: The settings that differ from the tiny model of the family.
    """
    settings = settings_of(family, **changed)
    names = _LAYER | (_WITH_NORMS_AFTER if family in ("gemma2", "gemma3_text", "olmo2") else {})
    state: dict[str, torch.Tensor] = {}
    joined: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in reference.items():
        result = _IN_A_LAYER.fullmatch(name)
        if result is None:
            module, kind = name.rsplit(".", 1)
            state[f"{_WHOLE[module]}.{kind}"] = tensor
            continue
        number, module, kind = result.groups()
        layer = f"transformer.h.{number}"
        expert = _EXPERT.search(module)
        match module:
            case "self_attn.q_proj" | "self_attn.k_proj" | "self_attn.v_proj":
                joined.setdefault(f"{layer}.attn.qkv.{kind}", {})[module[10]] = tensor
            case "self_attn.qkv_proj":
                state[f"{layer}.attn.qkv.{kind}"] = tensor
            case "attention.query_key_value" | "self_attention.query_key_value":
                state[f"{layer}.attn.qkv.{kind}"] = _not_by_group(tensor, settings)
            case "mlp.gate_up_proj":
                state[f"{layer}.mlp.fc_1.{kind}"], state[f"{layer}.mlp.fc_2.{kind}"] = tensor.chunk(2)
            case _:
                actual = names[_EXPERT.sub("{}", module)].format(expert and expert[0])
                state[f"{layer}.{actual}.{kind}"] = tensor
    for name, parts in joined.items():
        state[name] = torch.cat([parts["q"], parts["k"], parts["v"]])
    state.setdefault("lm_head.weight", state["transformer.wte.weight"])
    return state


def _not_by_group(rows: torch.Tensor, settings: dict[str, Any]) -> torch.Tensor:
    """Return all queries, then all keys, then all values of a QKV projection that has them group by group."""
    groups, size = settings["n_query_groups"], settings["head_size"]
    queries = settings["n_head"] // groups
    parts = rows.unflatten(0, (groups, queries + 2, size)).split([queries, 1, 1], dim=1)
    return torch.cat([part.flatten(0, 2) for part in parts])


def by_group(qkv: torch.Tensor, *, heads: int, groups: int, head_size: int) -> torch.Tensor:
    """Return the rows of Q, K and V group by group, as in LitGPT up to 0.5.3."""
    q, k, v = qkv.split([heads * head_size, groups * head_size, groups * head_size])
    queries = q.chunk(groups)
    keys, values = k.chunk(groups), v.chunk(groups)
    return torch.cat([torch.cat(group) for group in zip(queries, keys, values, strict=True)])


def write_litgpt_folder(folder: Path, settings: dict[str, Any], state: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "lit_model.pth")
    (folder / "model_config.yaml").write_text(yaml.dump(settings), encoding="utf-8")
    return folder
