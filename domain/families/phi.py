"""Phi 1, 1.5 and 2; Phi 3, 3.5 and 4: Llama with fused projections and LongRoPE.

Source: Li et al. 2023, arXiv:2309.05463; Abdin et al. 2024, arXiv:2404.14219.
"""

import attrs

from litgpt.domain.families.attention import SoftmaxAttention, Windows
from litgpt.domain.families.family import Family, Residual
from litgpt.domain.families.feedforward import Gated, Plain
from litgpt.domain.families.llama import LLAMA, NORMS, OUTSIDE
from litgpt.domain.families.names import layer_rule, linear, whole
from litgpt.domain.families.norms import LayerNorm, QkNorms, RmsNorm
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import Key
from litgpt.domain.weights import Part

PHI = Family(
    model_type="phi",
    attention=SoftmaxAttention(
        qkv_bias=True,
        output_bias=True,
        qk_norm=QkNorms(norm=LayerNorm(), enabled=Key("qk_layernorm", default=False)),
        rope=Rope(partial=Key("partial_rotary_factor", 0.5)),
    ),
    feed_forward=Plain(activation=Key("hidden_act", "gelu_new")),
    norm=LayerNorm(),
    residual=Residual(parallel=True, shared=True),
    head_bias=True,
    weights=(
        *whole("transformer.wte", "model.embed_tokens"),
        *linear("norm_1", "input_layernorm"),
        *linear("attn.qkv", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        *linear("attn.norm_q", "self_attn.q_layernorm"),
        *linear("attn.norm_k", "self_attn.k_layernorm"),
        *linear("attn.proj", "self_attn.dense"),
        *linear("mlp.fc", "mlp.fc1"),
        *linear("mlp.proj", "mlp.fc2"),
        *whole("transformer.ln_f", "model.final_layernorm"),
        *whole("lm_head", "lm_head"),
    ),
)

GATE_AND_UP = (
    layer_rule("mlp.fc_1.weight", Part("mlp.gate_up_proj.weight", 0, 2)),
    layer_rule("mlp.fc_2.weight", Part("mlp.gate_up_proj.weight", 1, 2)),
    layer_rule("mlp.proj.weight", "mlp.down_proj.weight"),
)
"""A gated MLP whose gate and up projections are fused in one tensor."""

PHI3 = attrs.evolve(
    LLAMA,
    model_type="phi3",
    attention=SoftmaxAttention(
        windows=Windows(size=Key("sliding_window", None)),
        rope=Rope(partial=Key("partial_rotary_factor", 1.0)),
    ),
    feed_forward=Gated(),
    norm=RmsNorm(eps=Key("rms_norm_eps", 1e-5)),
    context=Key("max_position_embeddings", 4096),
    weights=(
        *OUTSIDE,
        *NORMS,
        layer_rule("attn.qkv.weight", "self_attn.qkv_proj.weight"),
        layer_rule("attn.proj.weight", "self_attn.o_proj.weight"),
        *GATE_AND_UP,
    ),
)
