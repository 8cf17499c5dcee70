"""DeepSeek V3 and R1: latent attention, and experts chosen by group with a correction that balances them.

Source: DeepSeek-AI 2024, arXiv:2412.19437.
"""

import attrs

from litgpt.domain.families.attention import Latent
from litgpt.domain.families.feedforward import Gated, Routing, Sparse
from litgpt.domain.families.llama import GATED, LLAMA, NORMS, OUTSIDE
from litgpt.domain.families.names import layer_rule, linear
from litgpt.domain.families.qwen2 import EXPERTS
from litgpt.domain.families.settings import Key

LATENT = (
    *linear("attn.q_proj", "self_attn.q_proj"),
    *linear("attn.q_a_proj", "self_attn.q_a_proj"),
    *linear("attn.q_a_norm", "self_attn.q_a_layernorm"),
    *linear("attn.q_b_proj", "self_attn.q_b_proj"),
    *linear("attn.kv_a_proj_with_mqa", "self_attn.kv_a_proj_with_mqa"),
    *linear("attn.kv_a_norm", "self_attn.kv_a_layernorm"),
    *linear("attn.kv_b_proj", "self_attn.kv_b_proj"),
    *linear("attn.proj", "self_attn.o_proj"),
)
SHARED = (
    *linear("mlp.shared_experts.fc_1", "mlp.shared_experts.gate_proj"),
    *linear("mlp.shared_experts.fc_2", "mlp.shared_experts.up_proj"),
    *linear("mlp.shared_experts.proj", "mlp.shared_experts.down_proj"),
)
CORRECTION = (layer_rule("mlp.gate.e_score_correction_bias", "mlp.gate.e_score_correction_bias"),)

DEEPSEEK_V3 = attrs.evolve(
    LLAMA,
    model_type="deepseek_v3",
    attention=Latent(),
    feed_forward=Sparse(
        routing=Routing(
            score="sigmoid",
            normalise=Key("norm_topk_prob", default=True),
            scale=Key("routed_scaling_factor", 2.5),
            correction=True,
            groups=Key("n_group", 8),
            groups_chosen=Key("topk_group", 4),
        ),
        shared=Gated(size=Key("moe_intermediate_size")),
        shared_times=Key("n_shared_experts", 1),
        first=Key("first_k_dense_replace", 3),
    ),
    context=Key("max_position_embeddings", 4096),
    # The layer after the last predicts one token more; it is for training and for guessing ahead.
    unused=(*LLAMA.unused, "model.layers.61.*"),
    weights=(*OUTSIDE, *NORMS, *LATENT, *GATED, *EXPERTS, *SHARED, *CORRECTION),
)
