"""GPT-NeoX and Pythia: LayerNorm, parallel attention and non-gated MLP, partial RoPE.

Source: Black et al. 2022, arXiv:2204.06745; Biderman et al. 2023, arXiv:2304.01373.
"""

from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.family import Family, ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import MLPSchema
from litgpt.domain.families.schema.norm import LayerNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors, model_tensors
from litgpt.domain.weights.mapping import WeightMapping

_LAYER = "gpt_neox.layers.{}"
_BIAS = ConfigField("attention_bias", default=True)

GPT_NEOX = Family(
    model_type="gpt_neox",
    attribute_map={"partial_rotary_factor": "rotary_pct", "rope_theta": "rotary_emb_base"},
    attention=AttentionSchema(
        qkv_bias=_BIAS,
        output_bias=_BIAS,
        num_kv_heads=None,
        rope=RopeSchema(partial_rotary_factor=ConfigField("partial_rotary_factor", 0.25)),
    ),
    mlp=MLPSchema(),
    norm=LayerNormSchema(),
    residual=ResidualSchema(parallel=ConfigField("use_parallel_residual", default=True)),
    unused_tensors=("*.rotary_emb.inv_freq", "*.attention.bias", "*.attention.masked_bias"),
    weights=(
        WeightMapping("transformer.wte.weight", ("gpt_neox.embed_in.weight",)),
        *linear_tensors("norm_1", "input_layernorm", within=_LAYER),
        *linear_tensors("attn.qkv", "attention.query_key_value", within=_LAYER, grouped_qkv=True),
        *linear_tensors("attn.proj", "attention.dense", within=_LAYER),
        *linear_tensors("norm_2", "post_attention_layernorm", within=_LAYER),
        *linear_tensors("mlp.fc", "mlp.dense_h_to_4h", within=_LAYER),
        *linear_tensors("mlp.proj", "mlp.dense_4h_to_h", within=_LAYER),
        *model_tensors("transformer.ln_f", "gpt_neox.final_layer_norm"),
        WeightMapping("lm_head.weight", ("embed_out.weight",)),
    ),
)
