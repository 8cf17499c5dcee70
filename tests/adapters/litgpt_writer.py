"""Writes a folder as LitGPT 0.5.13 writes it, from a model of transformers, and by none of our own rules.

LitGPT 0.5.13 itself was run on these folders: it loads each strictly and computes transformers' logits.
"""

from pathlib import Path
from typing import Any

import torch
import yaml

# Every field of LitGPT's configuration, in its own file, with what the models here have in common.
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
    "vocab_size": 270,  # what the tokenizer knows; the rest of the rows are padding
}

_WINDOWED = [1, 1, 0]

OF_FAMILY: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"attn_bias": True},
    "gemma3_text": {
        "attention_scores_scalar": 20,
        "gelu_approximate": "tanh",
        "head_size": 16,
        "mlp_class_name": "GemmaMLP",
        "norm_qk": True,
        "post_attention_norm": True,
        "post_mlp_norm": True,
        "rope_base": 1_000_000,
        "rope_indices": _WINDOWED,
        "rope_local_base_freq": 10_000,
        "scale_embeddings": True,
        "sliding_window_indices": _WINDOWED,  # the same list twice: yaml writes an anchor and an alias
        "sliding_window_size": 8,
    },
}
"""What each family of `tiny_models` is in LitGPT's settings, besides what all have."""

_LAYER = {
    "input_layernorm": "norm_1",
    "post_attention_layernorm": "norm_2",
    "self_attn.o_proj": "attn.proj",
    "self_attn.q_norm": "attn.norm_q",
    "self_attn.k_norm": "attn.norm_k",
    "mlp.gate_proj": "mlp.fc_1",
    "mlp.up_proj": "mlp.fc_2",
    "mlp.down_proj": "mlp.proj",
}
_GEMMA_LAYER = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "norm_2",
    "post_feedforward_layernorm": "post_mlp_norm",
}
_WHOLE = {
    "model.embed_tokens.weight": "transformer.wte.weight",
    "model.norm.weight": "transformer.ln_f.weight",
    "lm_head.weight": "lm_head.weight",
}


def settings_of(family: str, **changed: Any) -> dict[str, Any]:
    return SETTINGS | OF_FAMILY[family] | changed


def litgpt_state(family: str, theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return LitGPT's tensors of a model, from the state dict that transformers has of it."""
    state: dict[str, torch.Tensor] = {}
    joined: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in theirs.items():
        if name in _WHOLE:
            state[_WHOLE[name]] = tensor
            continue
        number, rest = name.removeprefix("model.layers.").split(".", 1)
        module, kind = rest.rsplit(".", 1)
        if module in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
            joined.setdefault(f"transformer.h.{number}.attn.qkv.{kind}", {})[module[10]] = tensor
            continue
        names = _LAYER | _GEMMA_LAYER if family == "gemma3_text" else _LAYER
        state[f"transformer.h.{number}.{names[module]}.{kind}"] = tensor
    for name, parts in joined.items():
        state[name] = torch.cat([parts["q"], parts["k"], parts["v"]])
    return state


def by_group(qkv: torch.Tensor, *, heads: int, groups: int, head_size: int) -> torch.Tensor:
    """Return the rows of Q, K and V as LitGPT up to 0.5.3 laid them: group by group."""
    q, k, v = qkv.split([heads * head_size, groups * head_size, groups * head_size])
    queries = q.chunk(groups)
    keys, values = k.chunk(groups), v.chunk(groups)
    return torch.cat([torch.cat(group) for group in zip(queries, keys, values, strict=True)])


def write_litgpt_folder(folder: Path, settings: dict[str, Any], state: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "lit_model.pth")
    (folder / "model_config.yaml").write_text(yaml.dump(settings), encoding="utf-8")
    return folder
