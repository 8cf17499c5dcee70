"""DeepSeek V2, V3 and R1: MLA, MoE with group-limited routing, and in V3 a load-balancing score correction.

Source: DeepSeek-AI 2024, arXiv:2405.04434 and arXiv:2412.19437.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.attention import Latent
from litgpt.domain.families.feedforward import Gated, Routing, Sparse
from litgpt.domain.families.llama import GATED, LLAMA, NORMS, OUTSIDE
from litgpt.domain.families.names import layer_rule, linear
from litgpt.domain.families.qwen2 import EXPERTS
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import Key, Settings

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
    # The extra layer is for multi-token prediction (training and speculative decoding).
    unused=(*LLAMA.unused, "model.layers.61.*"),
    weights=(*OUTSIDE, *NORMS, *LATENT, *GATED, *EXPERTS, *SHARED, *CORRECTION),
)


def _chosen_by_group(settings: Settings) -> Mapping[str, object]:
    """Return the number of expert groups, which only `group_limited_greedy` routing uses."""
    for name, usual in (("scoring_func", "softmax"), ("moe_layer_freq", 1)):
        if (value := settings.get(Key(name, usual))) != usual:
            raise settings.refuse(name, value)
    method = settings.get(Key("topk_method", "greedy"))
    if method == "greedy":
        return {"n_group": 1, "topk_group": 1}
    if method != "group_limited_greedy":
        raise settings.refuse("topk_method", method)
    return {}


_MLP_BIAS = Key("mlp_bias", default=False)
_SIZE = Key("moe_intermediate_size", 1407)

DEEPSEEK_V2 = attrs.evolve(
    DEEPSEEK_V3,
    model_type="deepseek_v2",
    derived=_chosen_by_group,
    attention=Latent(rope=Rope(interleaved=True)),
    feed_forward=Sparse(
        expert=Gated(size=_SIZE),
        routing=Routing(
            normalise=False,
            scale=Key("routed_scaling_factor", 1.0),
            groups=Key("n_group"),
            groups_chosen=Key("topk_group"),
            group_score=1,
        ),
        shared=Gated(size=_SIZE, bias=_MLP_BIAS),
        shared_times=Key("n_shared_experts", 2),
        dense=Gated(bias=_MLP_BIAS),
        first=Key("first_k_dense_replace", 0),
    ),
    context=Key("max_position_embeddings", 2048),
    unused=LLAMA.unused,
    refused=(*LLAMA.refused, "norm_topk_prob"),
    weights=(*OUTSIDE, *NORMS, *LATENT, *GATED, *EXPERTS, *SHARED),
)
