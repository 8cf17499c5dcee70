"""MiniMax-01: lightning attention between layers of attention. MiniMax M2: attention.

Both rotate half of each head; M2 has QK-Norm over all heads.

Source: MiniMax 2025, arXiv:2501.08313 and "MiniMax-M2".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.llama import QK_NORM_WEIGHTS
from litgpt.domain.families.mistral import MIXTRAL
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.family import ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.hybrid import HybridSchema, LightningSchema
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor
from litgpt.domain.model import NormedResidualSpec

_HEAD_DIM = ConfigField("head_dim", 128)


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    """Return the rotated fraction of a head; published configs have the dimension, `rotary_dim`."""
    if not config.has_value("rotary_dim") or config.has_value("partial_rotary_factor"):
        return {}
    return {"partial_rotary_factor": config.integer(ConfigField("rotary_dim")) / config.integer(_HEAD_DIM)}


def _minimax_config(config: HFConfig) -> Mapping[str, object]:
    """Return the rotated fraction of a head; without `head_dim`, heads divide the hidden size."""
    width, heads = (config.integer(ConfigField(name)) for name in ("hidden_size", "num_attention_heads"))
    size = config.integer(ConfigField("head_dim", width // heads))
    return _normalize_config(attrs.evolve(config, values={**config.values, "head_dim": size}))


def _residual(config: HFConfig, layer: int) -> NormedResidualSpec:
    kind = "linear_attn" if _LIGHTNING.layer_type(config, layer) == "linear_attention" else "full_attn"
    mixer_alpha, mixer_beta, mlp_alpha, mlp_beta = (
        config.number(ConfigField(f"{part}_{factor}_factor", 1.0))
        for part in (kind, "mlp")
        for factor in ("alpha", "beta")
    )
    return NormedResidualSpec(
        mixer_alpha=mixer_alpha, mixer_beta=mixer_beta, mlp_alpha=mlp_alpha, mlp_beta=mlp_beta
    )


_LIGHTNING = HybridSchema(
    mixers={
        "full_attention": AttentionSchema(
            num_kv_heads=ConfigField("num_key_value_heads", 8, nullable=True),
            rope=RopeSchema(
                theta=ConfigField("rope_theta", 1_000_000.0),
                partial_rotary_factor=ConfigField("partial_rotary_factor", 1.0),
            ),
        ),
        "linear_attention": LightningSchema(norm=RMSNormSchema(eps=1e-6)),
    },
    default_type=lambda _, layer: "linear_attention" if layer % 2 else "full_attention",
)

MINIMAX = attrs.evolve(
    MIXTRAL,
    model_type="minimax",
    normalize_config=_minimax_config,
    attention=_LIGHTNING,
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
    residual=ResidualSchema(normed=_residual),
    context_length=ConfigField("max_position_embeddings", 131_072),
    unused_tensors=(
        *MIXTRAL.unused_tensors,
        # Computed from the number of the layer.
        *(f"*.self_attn.{name}" for name in ("slope_rate", "query_decay", "key_decay", "diagonal_decay")),
    ),
    unsupported_settings=(*MIXTRAL.unsupported_settings, "sliding_window"),
    weights=(
        *MIXTRAL.weights,
        layer_tensor("attn.qkv_proj.weight", "self_attn.qkv_proj.weight", grouped_qkv=True),
        layer_tensor("attn.output_gate.weight", "self_attn.output_gate.weight"),
        layer_tensor("attn.norm.weight", "self_attn.norm.weight"),
        layer_tensor("attn.out_proj.weight", "self_attn.out_proj.weight"),
    ),
)


MINIMAX_M2 = attrs.evolve(
    MIXTRAL,
    model_type="minimax_m2",
    normalize_config=_normalize_config,
    attention=AttentionSchema(
        num_kv_heads=ConfigField("num_key_value_heads", 8),
        head_dim=_HEAD_DIM,
        qk_norm=QkNormSchema(scope="all"),
        rope=RopeSchema(
            theta=ConfigField("rope_theta", 5_000_000.0),
            partial_rotary_factor=ConfigField("partial_rotary_factor", 1.0),
        ),
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("num_experts", None), ConfigField("num_local_experts", 256)),
        num_experts_per_token=ConfigField("num_experts_per_tok", 8),
        expert=GatedMLPSchema(),
        router=RouterSchema(scoring_func="sigmoid", score_correction_bias=True),
    ),
    norm=RMSNormSchema(),
    context_length=ConfigField("max_position_embeddings", 196_608),
    unsupported_settings=(*MIXTRAL.unsupported_settings, "shared_intermediate_size"),
    weights=(
        *MIXTRAL.weights,
        *QK_NORM_WEIGHTS,
        layer_tensor("mlp.gate.e_score_correction_bias", "block_sparse_moe.e_score_correction_bias"),
    ),
)
