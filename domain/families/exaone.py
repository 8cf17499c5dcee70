"""EXAONE 3 to 3.5: Llama with other names of settings and tensors.

EXAONE 4: post-norm, QK-Norm per head, sliding windows, and no RoPE in full-attention layers.
K-EXAONE (`exaone_moe`): the same attention with pre-norm and the experts of DeepSeek V3.

Source: LG AI Research 2024, arXiv:2408.03541; 2025, arXiv:2507.11407; 2026, "K-EXAONE Technical Report".
"""

import attrs

from litgpt.domain.families.deepseek import SHARED_EXPERT_WEIGHTS, deepseek_router
from litgpt.domain.families.llama import BIASED_ATTENTION, LLAMA, QK_NORM_WEIGHTS
from litgpt.domain.families.olmo import OLMO2
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import NoPE, RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors, model_tensors

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

_MOE_INTERMEDIATE_SIZE = ConfigField("moe_intermediate_size", 1024)

EXAONE_MOE = attrs.evolve(
    LLAMA,
    model_type="exaone_moe",
    attention=EXAONE4.attention,
    mlp=MoESchema(
        num_experts=(ConfigField("num_experts", 64),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 8),
        expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE),
        router=deepseek_router(),
        shared_expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE),
        num_shared_experts=ConfigField("num_shared_experts", 1),
        layer_types=ConfigField("mlp_layer_types", None),
        first_moe_layer=ConfigField("first_k_dense_replace", 1),
    ),
    norm=_NORM,
    # Layers for multi-token prediction.
    unused_tensors=(*LLAMA.unused_tensors, "mtp.*"),
    weights=(
        *LLAMA.weights,
        *QK_NORM_WEIGHTS,
        *EXPERT_WEIGHTS,
        *SHARED_EXPERT_WEIGHTS,
        layer_tensor("mlp.gate.e_score_correction_bias", "mlp.e_score_correction_bias"),
    ),
)
