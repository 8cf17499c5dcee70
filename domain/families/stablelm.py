"""StableLM and StableCode: Llama with LayerNorm, partial RoPE and an optional parallel residual.

Source: Bellagente et al. 2024, arXiv:2402.17834.
"""

import attrs

from litgpt.domain.families.attention import SoftmaxAttention
from litgpt.domain.families.family import Residual
from litgpt.domain.families.feedforward import Gated
from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.names import layer_rule
from litgpt.domain.families.norms import LayerNorm, QkNorms
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import Key

_PARALLEL = Key("use_parallel_residual", default=False)

STABLELM = attrs.evolve(
    LLAMA,
    model_type="stablelm",
    attention=SoftmaxAttention(
        qkv_bias=Key("use_qkv_bias", default=False),
        groups=Key("num_key_value_heads", 32),
        qk_norm=QkNorms(norm=LayerNorm(bias=False), over="heads", enabled=Key("qk_layernorm", default=False)),
        rope=Rope(partial=Key("partial_rotary_factor", 0.25)),
    ),
    feed_forward=Gated(),
    norm=LayerNorm(),
    residual=Residual(parallel=_PARALLEL, shared=True),
    context=Key("max_position_embeddings", 4096),
    weights=(
        *LLAMA.weights,
        layer_rule("attn.norm_q.weight", "self_attn.q_layernorm.norms.{piece}.weight"),
        layer_rule("attn.norm_k.weight", "self_attn.k_layernorm.norms.{piece}.weight"),
    ),
)
