"""OLMo: norms without weights. OLMo 2: post-norm, QK-Norm over all heads. OLMo 3: also sliding windows.

OLMoE: pre-norm, QK-Norm over all heads, experts. FlexOlmo: OLMo 2 with experts.

Source: Groeneveld et al. 2024, arXiv:2402.00838; OLMo Team 2024, arXiv:2501.00656; Team OLMo 2025, "Olmo 3";
Muennighoff et al. 2024, arXiv:2409.02060; Shi et al. 2025, arXiv:2507.07024.
"""

import attrs

from litgpt.domain.families.llama import (
    ATTENTION_WEIGHTS,
    BIASED_ATTENTION,
    EMBEDDING_WEIGHTS,
    GATED_MLP_WEIGHTS,
    LLAMA,
    NORM_WEIGHTS,
    QK_NORM_WEIGHTS,
)
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS
from litgpt.domain.families.schema.attention import SlidingWindowSchema
from litgpt.domain.families.schema.family import ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import LayerNormSchema, QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors

OLMO = attrs.evolve(
    LLAMA,
    model_type="olmo",
    attention=attrs.evolve(BIASED_ATTENTION, clip_qkv=ConfigField("clip_qkv", None)),
    mlp=GatedMLPSchema(),
    norm=LayerNormSchema(eps=1e-5, weight=False, bias=False),
)

_NORM = RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5))

OLMO2 = attrs.evolve(
    LLAMA,
    model_type="olmo2",
    attention=attrs.evolve(BIASED_ATTENTION, qk_norm=QkNormSchema(norm=_NORM, scope="all")),
    mlp=GatedMLPSchema(),
    norm=_NORM,
    residual=ResidualSchema(pre_norm=False, post_norm=True),
    weights=(
        *EMBEDDING_WEIGHTS,
        *ATTENTION_WEIGHTS,
        *QK_NORM_WEIGHTS,
        *GATED_MLP_WEIGHTS,
        *linear_tensors("post_attention_norm", "post_attention_layernorm"),
        *linear_tensors("post_mlp_norm", "post_feedforward_layernorm"),
    ),
)

OLMO3 = attrs.evolve(
    OLMO2,
    model_type="olmo3",
    attention=attrs.evolve(
        BIASED_ATTENTION,
        qk_norm=QkNormSchema(norm=_NORM, scope="all"),
        sliding_window=SlidingWindowSchema(
            size=ConfigField("sliding_window", 4096), pattern=ConfigField("sliding_window_pattern", 4)
        ),
        # RoPE scaling applies only to the full-attention layers.
        rope=RopeSchema(
            theta=ConfigField("rope_theta", 500_000.0), local_theta=ConfigField("rope_theta", 500_000.0)
        ),
    ),
)

_MOE = MoESchema(
    num_experts=(ConfigField("num_experts", 64),),
    num_experts_per_token=ConfigField("num_experts_per_tok", 8),
    expert=GatedMLPSchema(),
    router=RouterSchema(norm_topk_prob=ConfigField("norm_topk_prob", default=False)),
)

OLMOE = attrs.evolve(
    LLAMA,
    model_type="olmoe",
    attention=attrs.evolve(
        BIASED_ATTENTION,
        qk_norm=QkNormSchema(norm=_NORM, scope="all"),
        clip_qkv=ConfigField("clip_qkv", None),
    ),
    mlp=_MOE,
    norm=_NORM,
    context_length=ConfigField("max_position_embeddings", 4096),
    weights=(*EMBEDDING_WEIGHTS, *NORM_WEIGHTS, *ATTENTION_WEIGHTS, *QK_NORM_WEIGHTS, *EXPERT_WEIGHTS),
)

FLEX_OLMO = attrs.evolve(
    OLMO2,
    model_type="flex_olmo",
    attention=attrs.evolve(
        BIASED_ATTENTION,
        qk_norm=QkNormSchema(scope="all"),
        rope=RopeSchema(theta=ConfigField("rope_theta", 500_000.0)),
    ),
    mlp=attrs.evolve(
        _MOE,
        num_experts=(ConfigField("num_experts", 7),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 5),
    ),
    norm=RMSNormSchema(),
    context_length=ConfigField("max_position_embeddings", 4096),
    weights=(*OLMO2.weights, *EXPERT_WEIGHTS),
)
