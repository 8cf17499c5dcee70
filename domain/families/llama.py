"""Llama 1 to 3.3, and the many models that share its structure (SmolLM2, TinyLlama, …).

Source: Touvron et al. 2023, arXiv:2302.13971; Grattafiori et al. 2024, arXiv:2407.21783.
"""

from litgpt.domain.families.family import Family
from litgpt.domain.families.recipes import Gated, SoftmaxAttention
from litgpt.domain.families.settings import Key
from litgpt.domain.weights import Rule


def layer_rule(ours: str, *theirs: str) -> Rule:
    """Return the rule for a tensor that every layer has."""
    return Rule(f"transformer.h.{{}}.{ours}", tuple(f"model.layers.{{}}.{one}" for one in theirs))


def _linear(ours: str, *theirs: str) -> tuple[Rule, Rule]:
    """Return the rules for a weight and for the bias it may have."""
    return (
        layer_rule(f"{ours}.weight", *(f"{one}.weight" for one in theirs)),
        layer_rule(f"{ours}.bias", *(f"{one}.bias" for one in theirs)),
    )


LLAMA = Family(
    model_type="llama",
    attention=SoftmaxAttention(
        qkv_bias=Key("attention_bias", default=False), output_bias=Key("attention_bias", default=False)
    ),
    feed_forward=Gated(bias=Key("mlp_bias", default=False)),
    weights=(
        Rule("transformer.wte.weight", ("model.embed_tokens.weight",)),
        layer_rule("norm_1.weight", "input_layernorm.weight"),
        *_linear("attn.qkv", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        *_linear("attn.proj", "self_attn.o_proj"),
        layer_rule("norm_2.weight", "post_attention_layernorm.weight"),
        *_linear("mlp.fc_1", "mlp.gate_proj"),
        *_linear("mlp.fc_2", "mlp.up_proj"),
        *_linear("mlp.proj", "mlp.down_proj"),
        Rule("transformer.ln_f.weight", ("model.norm.weight",)),
        Rule("lm_head.weight", ("lm_head.weight",)),
    ),
)
