"""BioGPT: OPT with scaled embeddings.

Source: Luo et al. 2022, arXiv:2210.10341.
"""

import attrs

from litgpt.domain.families.opt import OPT
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import MLPSchema
from litgpt.domain.families.schema.norm import LayerNormSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors, model_tensors
from litgpt.domain.weights.mapping import WeightMapping

_LAYER = "biogpt.layers.{}"

BIOGPT = attrs.evolve(
    OPT,
    model_type="biogpt",
    attribute_map={},
    normalize_config=None,
    attention=AttentionSchema(qkv_bias=True, output_bias=True, num_kv_heads=None, rope=None),
    mlp=MLPSchema(intermediate_size=ConfigField("intermediate_size", 4096)),
    # The norms of published models have this epsilon, not the config's `layer_norm_eps`.
    norm=LayerNormSchema(eps=1e-5),
    scale_embedding=ConfigField("scale_embedding", default=True),
    context_length=ConfigField("max_position_embeddings", 1024),
    prefix_aliases=(),
    unsupported_settings=("quantization_config",),
    weights=(
        WeightMapping("transformer.wte.weight", ("biogpt.embed_tokens.weight",)),
        WeightMapping("transformer.wpe.weight", ("biogpt.embed_positions.weight",)),
        *linear_tensors("norm_1", "self_attn_layer_norm", within=_LAYER),
        *linear_tensors(
            "attn.qkv", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", within=_LAYER
        ),
        *linear_tensors("attn.proj", "self_attn.out_proj", within=_LAYER),
        *linear_tensors("norm_2", "final_layer_norm", within=_LAYER),
        *linear_tensors("mlp.fc", "fc1", within=_LAYER),
        *linear_tensors("mlp.proj", "fc2", within=_LAYER),
        *model_tensors("transformer.ln_f", "biogpt.layer_norm"),
        WeightMapping("lm_head.weight", ("output_projection.weight",)),
    ),
)
