"""Llama 1 to 3.3, and models with the same structure (SmolLM2, TinyLlama, …).

Source: Touvron et al. 2023, arXiv:2302.13971; Grattafiori et al. 2024, arXiv:2407.21783.
"""

from litgpt.domain.families.attention import SoftmaxAttention
from litgpt.domain.families.family import Family
from litgpt.domain.families.feedforward import Gated
from litgpt.domain.families.names import linear, whole
from litgpt.domain.families.settings import Key

OUTSIDE = (
    *whole("transformer.wte", "model.embed_tokens"),
    *whole("transformer.ln_f", "model.norm"),
    *whole("lm_head", "lm_head"),
)
ATTENTION = (
    *linear("attn.qkv", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    *linear("attn.proj", "self_attn.o_proj"),
)
NORMS = (
    *linear("norm_1", "input_layernorm"),
    *linear("norm_2", "post_attention_layernorm"),
)
GATED = (
    *linear("mlp.fc_1", "mlp.gate_proj"),
    *linear("mlp.fc_2", "mlp.up_proj"),
    *linear("mlp.proj", "mlp.down_proj"),
)
QK_NORM = (
    *linear("attn.norm_q", "self_attn.q_norm"),
    *linear("attn.norm_k", "self_attn.k_norm"),
)

BIAS = Key("attention_bias", default=False)
BIASED_ATTENTION = SoftmaxAttention(qkv_bias=BIAS, output_bias=BIAS)
"""Llama's attention, in which one setting controls the bias of all projections."""

LLAMA = Family(
    model_type="llama",
    attention=BIASED_ATTENTION,
    feed_forward=Gated(bias=Key("mlp_bias", default=False)),
    weights=(*OUTSIDE, *NORMS, *ATTENTION, *GATED),
)

KEYS_AND_VALUES = tuple(f"*.self_attn.{module}.*" for module in ("k_proj", "v_proj", "k_norm", "v_norm"))
"""Tensors that a layer with a shared KV cache does not use."""
