"""GPT-J: parallel attention and MLP with one shared norm, interleaved partial RoPE. CodeGen: one QKV tensor.

Source: Wang and Komatsuzaki 2021, "GPT-J-6B: A 6 Billion Parameter Autoregressive Language Model";
Nijkamp et al. 2022, arXiv:2203.13474.
"""

import attrs

from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.family import Family, ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import MLPSchema
from litgpt.domain.families.schema.norm import LayerNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors, model_tensors
from litgpt.domain.weights.mapping import SourceSlice, WeightMapping

_LAYER = "transformer.h.{}"

GPTJ = Family(
    model_type="gptj",
    attribute_map={
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
        "intermediate_size": "n_inner",
    },
    attention=AttentionSchema(
        num_kv_heads=None, rope=RopeSchema(rotary_dim=ConfigField("rotary_dim", 64), interleaved=True)
    ),
    mlp=MLPSchema(activation=ConfigField("activation_function", "gelu_new")),
    norm=LayerNormSchema(eps=ConfigField("layer_norm_epsilon", 1e-5)),
    residual=ResidualSchema(parallel=True, shared_norm=True),
    lm_head_bias=True,
    unused_tensors=("*.attn.bias", "*.attn.masked_bias"),
    unsupported_settings=("quantization_config", "rope_scaling"),
    weights=(
        WeightMapping("transformer.wte.weight", ("transformer.wte.weight",)),
        *linear_tensors("norm_1", "ln_1", within=_LAYER),
        *linear_tensors("attn.qkv", "attn.q_proj", "attn.k_proj", "attn.v_proj", within=_LAYER),
        *linear_tensors("attn.proj", "attn.out_proj", within=_LAYER),
        *linear_tensors("mlp.fc", "mlp.fc_in", within=_LAYER),
        *linear_tensors("mlp.proj", "mlp.fc_out", within=_LAYER),
        *model_tensors("transformer.ln_f", "transformer.ln_f"),
        *model_tensors("lm_head", "lm_head"),
    ),
)

# CodeGen was trained on four devices, each with the queries, values and keys of a quarter of the heads.
_QKV = tuple(SourceSlice("attn.qkv_proj.weight", index, 3, num_runs=4) for index in (0, 2, 1))

CODEGEN = attrs.evolve(
    GPTJ,
    model_type="codegen",
    unused_tensors=("*.attn.causal_mask", "*.attn.bias", "*.attn.masked_bias"),
    weights=(
        layer_tensor("attn.qkv.weight", *_QKV, within=_LAYER),
        *(rule for rule in GPTJ.weights if ".attn.qkv." not in rule.name),
    ),
)
