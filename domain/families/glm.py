"""GLM 4: pre- and post-norms, interleaved partial RoPE. GLM 4.5 and later: MoE.

Source: GLM Team 2024, arXiv:2406.12793; 2025, arXiv:2508.06471.
"""

import attrs

from litgpt.domain.families.attention import SoftmaxAttention
from litgpt.domain.families.deepseek import CORRECTION, SHARED
from litgpt.domain.families.family import Residual
from litgpt.domain.families.feedforward import Gated, Routing, Sparse
from litgpt.domain.families.llama import ATTENTION, GATED, LLAMA, NORMS, OUTSIDE, QK_NORM
from litgpt.domain.families.names import linear
from litgpt.domain.families.norms import QkNorms, RmsNorm
from litgpt.domain.families.phi import GATE_AND_UP
from litgpt.domain.families.qwen2 import EXPERTS
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import Key

_PARTIAL = Key("partial_rotary_factor", 0.5)

GLM4 = attrs.evolve(
    LLAMA,
    model_type="glm4",
    attention=SoftmaxAttention(
        qkv_bias=Key("attention_bias", default=True),
        groups=Key("num_key_value_heads", 2),
        head_size=Key("head_dim", 128),
        rope=Rope(partial=_PARTIAL, interleaved=True),
    ),
    feed_forward=Gated(),
    norm=RmsNorm(eps=Key("rms_norm_eps", 1.5625e-07)),
    residual=Residual(after=True),
    context=Key("max_position_embeddings", 131_072),
    weights=(
        *OUTSIDE,
        *NORMS,
        *ATTENTION,
        *GATE_AND_UP,
        *linear("post_attention_norm", "post_self_attn_layernorm"),
        *linear("post_mlp_norm", "post_mlp_layernorm"),
    ),
)

_SIZE = Key("moe_intermediate_size", 1408)

GLM4_MOE = attrs.evolve(
    LLAMA,
    model_type="glm4_moe",
    attention=SoftmaxAttention(
        qkv_bias=Key("attention_bias", default=False),
        groups=Key("num_key_value_heads", 8),
        qk_norm=QkNorms(
            norm=RmsNorm(eps=Key("rms_norm_eps", 1e-5)), enabled=Key("use_qk_norm", default=False)
        ),
        rope=Rope(partial=_PARTIAL),
    ),
    feed_forward=Sparse(
        expert=Gated(size=_SIZE),
        chosen=Key("num_experts_per_tok", 8),
        routing=Routing(
            score="sigmoid",
            normalise=Key("norm_topk_prob", default=True),
            scale=Key("routed_scaling_factor", 1.0),
            correction=True,
            groups=Key("n_group", 1),
            groups_chosen=Key("topk_group", 1),
        ),
        shared=Gated(size=_SIZE),
        shared_times=Key("n_shared_experts", 1),
        first=Key("first_k_dense_replace", 1),
    ),
    norm=RmsNorm(eps=Key("rms_norm_eps", 1e-5)),
    context=Key("max_position_embeddings", 131_072),
    # The extra layer is for multi-token prediction: number 46 in GLM-4.5-Air, 92 in GLM-4.5 to 4.7.
    unused=(*LLAMA.unused, "model.layers.46.*", "model.layers.92.*"),
    weights=(*OUTSIDE, *NORMS, *ATTENTION, *QK_NORM, *GATED, *EXPERTS, *SHARED, *CORRECTION),
)
