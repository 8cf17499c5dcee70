"""LongCat Flash: two layers of latent attention for each MoE, some of whose experts return their input.

A layer of its checkpoints consists of two of LitGPT's layers.

Source: Meituan LongCat Team 2025, arXiv:2509.01322.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from litgpt.domain.families.llama import EMBEDDING_WEIGHTS, LLAMA
from litgpt.domain.families.schema.attention import MLASchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema, ShortcutMoESchema
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors

_LAYERS = ConfigField("num_layers", 28)


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    """Return the number of LitGPT's layers, and check the size of a head."""
    size = ConfigField("qk_head_dim", None)
    parts = sum(config.integer(ConfigField(f"qk_{part}_head_dim")) for part in ("nope", "rope"))
    if config.has_value(size.name) and config.integer(size) != parts:
        raise config.unsupported(size.name, config.get(size))
    return {_LAYERS.name: 2 * config.integer(_LAYERS)}


def _halves(name: str, hf_name: str) -> tuple[Any, ...]:
    """Return the rules of a module that both halves of a checkpoint's layer have."""
    return linear_tensors(name, hf_name, sublayers=2)


_MLP = (("fc_1", "gate_proj"), ("fc_2", "up_proj"), ("proj", "down_proj"))
_MLA = ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj")

LONGCAT_FLASH = attrs.evolve(
    LLAMA,
    model_type="longcat_flash",
    attribute_map={"num_hidden_layers": "num_layers"},
    normalize_config=_normalize_config,
    attention=MLASchema(
        rope=RopeSchema(theta=ConfigField("rope_theta", 10_000_000.0), interleaved=True),
        q_lora_rank=ConfigField("q_lora_rank", 1536),
        scaled_latents=True,
    ),
    mlp=ShortcutMoESchema(
        dense=GatedMLPSchema(intermediate_size=ConfigField("ffn_hidden_size", 12_288)),
        moe=MoESchema(
            num_experts=(ConfigField("num_local_experts", None), ConfigField("n_routed_experts", 512)),
            num_experts_per_token=ConfigField("moe_topk", 12),
            num_identity_experts=ConfigField("zero_expert_num", 256),
            expert=GatedMLPSchema(intermediate_size=ConfigField("expert_ffn_hidden_size", 2048)),
            router=RouterSchema(
                norm_topk_prob=False,
                routed_scaling_factor=ConfigField("routed_scaling_factor", 6.0),
                score_correction_bias=True,
            ),
        ),
    ),
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
    context_length=ConfigField("max_position_embeddings", 131_072),
    unused_tensors=(
        *LLAMA.unused_tensors,
        "model.mtp.*",
        # transformers writes weights for the experts that return their input.
        "model.layers.*.mlp.experts.*.gate_proj.weight",
        "model.layers.*.mlp.experts.*.up_proj.weight",
    ),
    unsupported_settings=(*LLAMA.unsupported_settings, "router_bias", "per_layer_config"),
    weights=(
        *EMBEDDING_WEIGHTS,
        *_halves("norm_1", "input_layernorm.{sublayer}"),
        *_halves("norm_2", "post_attention_layernorm.{sublayer}"),
        *(rule for it in _MLA for rule in _halves(f"attn.{it}", f"self_attn.{{sublayer}}.{it}")),
        *_halves("attn.q_a_norm", "self_attn.{sublayer}.q_a_layernorm"),
        *_halves("attn.kv_a_norm", "self_attn.{sublayer}.kv_a_layernorm"),
        *_halves("attn.proj", "self_attn.{sublayer}.o_proj"),
        *(
            rule
            for own, hf_name in _MLP
            for place in ("mlp", "mlp.dense")
            for rule in _halves(f"{place}.{own}", f"mlps.{{sublayer}}.{hf_name}")
        ),
        *(
            layer_tensor(
                f"mlp.sparse.experts.{{}}.{own}.weight", f"mlp.experts.{{}}.{it}.weight", sublayers=2
            )
            for own, it in _MLP
        ),
        layer_tensor("mlp.sparse.gate.weight", "mlp.router.classifier.weight", sublayers=2),
        layer_tensor(
            "mlp.sparse.gate.e_score_correction_bias", "mlp.router.e_score_correction_bias", sublayers=2
        ),
    ),
)
