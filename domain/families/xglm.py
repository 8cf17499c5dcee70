"""XGLM: OPT with scaled embeddings and sinusoidal positions. CTRL: the same structure under other names.

Source: Lin et al. 2021, arXiv:2112.10668; Keskar et al. 2019, arXiv:1909.05858.
"""

import attrs

from litgpt.domain.families.opt import OPT
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import MLPSchema
from litgpt.domain.families.schema.norm import LayerNormSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors, model_tensors
from litgpt.domain.weights.mapping import WeightMapping

XGLM = attrs.evolve(
    OPT,
    model_type="xglm",
    attribute_map={
        "hidden_size": "d_model",
        "num_hidden_layers": "num_layers",
        "num_attention_heads": "attention_heads",
    },
    normalize_config=None,
    attention=AttentionSchema(qkv_bias=True, output_bias=True, num_kv_heads=None, rope=None),
    mlp=MLPSchema(
        activation=ConfigField("activation_function", "gelu"), intermediate_size=ConfigField("ffn_dim", 4096)
    ),
    norm=LayerNormSchema(eps=1e-5),
    scale_embedding=ConfigField("scale_embedding", default=True),
    learned_positions=False,
    sinusoidal_steps=lambda width: width // 2 - 1,
    prefix_aliases=(),
    unused_tensors=("model.embed_positions.*",),
    unsupported_settings=("quantization_config", "add_cross_attention"),
    weights=(
        WeightMapping("transformer.wte.weight", ("model.embed_tokens.weight",)),
        *linear_tensors("norm_1", "self_attn_layer_norm"),
        *linear_tensors("attn.qkv", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        *linear_tensors("attn.proj", "self_attn.out_proj"),
        *linear_tensors("norm_2", "final_layer_norm"),
        *linear_tensors("mlp.fc", "fc1"),
        *linear_tensors("mlp.proj", "fc2"),
        *model_tensors("transformer.ln_f", "model.layer_norm"),
        WeightMapping("lm_head.weight", ("lm_head.weight",)),
    ),
)

_LAYER = "transformer.h.{}"

CTRL = attrs.evolve(
    XGLM,
    model_type="ctrl",
    attribute_map={
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
    },
    mlp=MLPSchema(
        activation=ConfigField("activation_function", "relu"), intermediate_size=ConfigField("dff", 8192)
    ),
    norm=LayerNormSchema(eps=1e-6),
    final_norm=LayerNormSchema(eps=ConfigField("layer_norm_epsilon", 1e-6)),
    scale_embedding=True,
    sinusoidal_steps=lambda width: width // 2,
    position_offset=0,
    lm_head_bias=True,
    context_length=ConfigField("max_position_embeddings", 256),
    unused_tensors=("transformer.pos_encoding",),
    unsupported_settings=("quantization_config",),
    weights=(
        WeightMapping("transformer.wte.weight", ("transformer.w.weight",)),
        *linear_tensors("norm_1", "layernorm1", within=_LAYER),
        *linear_tensors(
            "attn.qkv",
            "multi_head_attention.Wq",
            "multi_head_attention.Wk",
            "multi_head_attention.Wv",
            within=_LAYER,
        ),
        *linear_tensors("attn.proj", "multi_head_attention.dense", within=_LAYER),
        *linear_tensors("norm_2", "layernorm2", within=_LAYER),
        *linear_tensors("mlp.fc", "ffn.0", within=_LAYER),
        *linear_tensors("mlp.proj", "ffn.2", within=_LAYER),
        *model_tensors("transformer.ln_f", "transformer.layernorm"),
        *model_tensors("lm_head", "lm_head"),
    ),
)
