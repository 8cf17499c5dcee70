"""EXAONE 3 to 3.5: Llama with other names of settings and tensors.

EXAONE 4: post-norm, QK-Norm per head, sliding windows, and no RoPE in full-attention layers.

Source: LG AI Research 2024, arXiv:2408.03541; 2025, arXiv:2507.11407.
"""

import attrs

from litgpt.domain.families.llama import BIASED_ATTENTION, LLAMA
from litgpt.domain.families.olmo import OLMO2
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import NoPE, RopeSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors, model_tensors

_WINDOW = ConfigField("sliding_window", 4096, nullable=True)
_NORM = RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5))

_LAYER = "transformer.h.{}"

EXAONE = attrs.evolve(
    LLAMA,
    model_type="exaone",
    attribute_map={
        "num_hidden_layers": "num_layers",
        "rms_norm_eps": "layer_norm_epsilon",
        "hidden_act": "activation_function",
    },
    attention=attrs.evolve(
        BIASED_ATTENTION,
        num_kv_heads=ConfigField("num_key_value_heads", 8, nullable=True),
        rope=RopeSchema(theta=ConfigField("rope_theta", 500_000.0)),
    ),
    norm=_NORM,
    context_length=ConfigField("max_position_embeddings", 4096),
    weights=(
        *model_tensors("transformer.wte", "transformer.wte"),
        *linear_tensors("norm_1", "ln_1", within=_LAYER),
        *linear_tensors(
            "attn.qkv",
            "attn.attention.q_proj",
            "attn.attention.k_proj",
            "attn.attention.v_proj",
            within=_LAYER,
        ),
        *linear_tensors("attn.proj", "attn.attention.out_proj", within=_LAYER),
        *linear_tensors("norm_2", "ln_2", within=_LAYER),
        *linear_tensors("mlp.fc_1", "mlp.c_fc_0", within=_LAYER),
        *linear_tensors("mlp.fc_2", "mlp.c_fc_1", within=_LAYER),
        *linear_tensors("mlp.proj", "mlp.c_proj", within=_LAYER),
        *model_tensors("transformer.ln_f", "transformer.ln_f"),
        *model_tensors("lm_head", "lm_head"),
    ),
)

EXAONE4 = attrs.evolve(
    OLMO2,
    model_type="exaone4",
    attention=AttentionSchema(
        num_kv_heads=ConfigField("num_key_value_heads", 32),
        qk_norm=QkNormSchema(norm=_NORM),
        sliding_window=SlidingWindowSchema(size=_WINDOW, pattern=ConfigField("sliding_window_pattern", 4)),
        # EXAONE 4 1.2B has no sliding windows and uses RoPE in all layers.
        rope=RopeSchema(nope_layers=NoPE(layer_type="full_attention", requires=_WINDOW)),
    ),
    norm=_NORM,
)
